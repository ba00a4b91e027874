//! Draws `images/1.png` and `images/2.png`, the pictures that the demo sends.
//!
//! `cargo run --release --example draw_images -- images` writes them again. Smooth gradients and
//! fine detail everywhere leave hardly a byte of the files without meaning, so a flipped one shows.

mod canvas;
mod font;

use canvas::{Canvas, Colour};
use std::f64::consts::TAU;
use std::path::PathBuf;
use std::process::ExitCode;

/// Points in and on a pixel that are averaged, in each direction.
const SAMPLES: usize = 3;

fn main() -> ExitCode {
    let Some(dir) = std::env::args_os().nth(1).map(PathBuf::from) else {
        explain_usage();
        return ExitCode::from(2);
    };
    let pictures = [("1.png", julia()), ("2.png", ripples())];
    for (name, canvas) in pictures {
        if let Err(error) = canvas.write(&dir.join(name)) {
            let path = dir.join(name);
            complain(&format!("cannot write `{}`: {error}", path.display()));
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// The Julia set of one point, coloured by how soon each point escapes and how near it came to the
/// axes.
fn julia() -> Canvas {
    const SIZE: (usize, usize) = (1_128, 752);
    const C: (f64, f64) = (-0.790_35, 0.157_2);
    let mut canvas = Canvas::new(SIZE.0, SIZE.1);
    let scale = 2.86 / SIZE.0 as f64;
    let (sin, cos) = 0.28_f64.sin_cos();
    canvas.paint(SAMPLES, |x, y| {
        let (x, y) = (
            (x - SIZE.0 as f64 / 2.0) * scale,
            (y - SIZE.1 as f64 / 2.0) * scale,
        );
        julia_colour((x * cos - y * sin, x * sin + y * cos), C)
    });
    canvas.caption("1.PNG  JULIA SET OF -0.79035 + 0.1572 I");
    canvas
}

fn julia_colour(start: (f64, f64), c: (f64, f64)) -> Colour {
    const MAX_STEPS: u32 = 900;
    // A large radius makes the count of steps smooth.
    const ESCAPE: f64 = 1e6;
    let (mut x, mut y) = start;
    let mut nearest = f64::INFINITY;
    for step in 0..MAX_STEPS {
        let square = x * x + y * y;
        if square > ESCAPE {
            let smooth = f64::from(step) + 1.0 - (square.ln() / ESCAPE.ln()).log2();
            let glow = (-9.0 * nearest).exp();
            return palette(smooth.sqrt() * 0.36).lighten(glow * 0.55);
        }
        (x, y) = (x * x - y * y + c.0, 2.0 * x * y + c.1);
        nearest = nearest.min(x.abs().min(y.abs()) + 0.02 * square);
    }
    Colour {
        red: 0.02,
        green: 0.02,
        blue: 0.06,
    }
}

/// A wheel of colours through dark blue, copper and ivory.
fn palette(turn: f64) -> Colour {
    let wave = |shift: f64| 0.5 - 0.5 * (TAU * (turn + shift)).cos();
    Colour {
        red: wave(0.00).powf(1.1),
        green: 0.95 * wave(-0.07).powf(1.5),
        blue: 0.25 + 0.65 * wave(-0.18).powf(1.9),
    }
}

/// Waves from one sender and its echoes at six receivers, as on water.
fn ripples() -> Canvas {
    const SIZE: (usize, usize) = (640, 352);
    const RECEIVERS: usize = 6;
    const WAVELENGTH: f64 = 24.0;
    let centre = (SIZE.0 as f64 / 2.0, SIZE.1 as f64 / 2.0);
    let mut sources = vec![centre];
    sources.extend((0..RECEIVERS).map(|at| {
        let (sin, cos) = (TAU * (at as f64 + 0.25) / RECEIVERS as f64).sin_cos();
        (centre.0 + 214.0 * cos, centre.1 + 118.0 * sin)
    }));
    let mut canvas = Canvas::new(SIZE.0, SIZE.1);
    canvas.paint(SAMPLES, |x, y| {
        let height: f64 = sources
            .iter()
            .enumerate()
            .map(|(at, source)| {
                let distance = (x - source.0).hypot(y - source.1);
                let strength = if at == 0 { 2.2 } else { 1.0 };
                strength * (TAU * distance / WAVELENGTH).cos() / (1.0 + distance / 90.0)
            })
            .sum();
        water(height)
    });
    for (at, &source) in sources.iter().enumerate() {
        let colour = if at == 0 {
            Colour::AMBER
        } else {
            Colour::IVORY
        };
        canvas.dot(source, if at == 0 { 8.0 } else { 5.5 }, colour);
    }
    canvas.caption("2.PNG  ONE SENDER, SIX RECEIVERS, ONE FIELD OF WAVES");
    canvas
}

/// From the trough to the crest.
fn water(height: f64) -> Colour {
    let level = 1.0 / (1.0 + (-1.5 * height).exp());
    Colour {
        red: 0.03 + 0.85 * level.powf(3.2),
        green: 0.08 + 0.84 * level.powf(1.7),
        blue: 0.22 + 0.66 * level.powf(0.8),
    }
}

/// An example has only stderr to speak on.
fn complain(text: &str) {
    use std::io::Write;
    writeln!(std::io::stderr(), "error: {text}").unwrap_or_default();
}

fn explain_usage() {
    complain("say where: cargo run --release --example draw_images -- images");
}
