//! A picture in memory.

use crate::font;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Height of the bar under the picture that holds its caption, in pixels.
const CAPTION_HEIGHT: usize = 28;
/// Pixels to a dot of the font.
const LETTER_SCALE: usize = 2;

/// Red, green and blue from 0 to 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Colour {
    pub(crate) red: f64,
    pub(crate) green: f64,
    pub(crate) blue: f64,
}

impl Colour {
    pub(crate) const IVORY: Self = Self {
        red: 0.97,
        green: 0.95,
        blue: 0.88,
    };
    pub(crate) const AMBER: Self = Self {
        red: 0.98,
        green: 0.70,
        blue: 0.20,
    };
    const INK: Self = Self {
        red: 0.05,
        green: 0.06,
        blue: 0.11,
    };

    /// The colour so far on the way to white.
    pub(crate) fn lighten(self, share: f64) -> Self {
        self.mix(
            Self {
                red: 1.0,
                green: 1.0,
                blue: 1.0,
            },
            share,
        )
    }

    fn mix(self, other: Self, share: f64) -> Self {
        let mix = |a: f64, b: f64| a + (b - a) * share.clamp(0.0, 1.0);
        Self {
            red: mix(self.red, other.red),
            green: mix(self.green, other.green),
            blue: mix(self.blue, other.blue),
        }
    }

    fn to_bytes(self) -> [u8; 3] {
        [self.red, self.green, self.blue].map(|part| (part.clamp(0.0, 1.0) * 255.0).round() as u8)
    }
}

/// Pixels, with a bar for a caption below them.
pub(crate) struct Canvas {
    width: usize,
    /// Without the bar.
    height: usize,
    pixels: Vec<Colour>,
}

impl Canvas {
    pub(crate) fn new(width: usize, height: usize) -> Self {
        let pixels = vec![Colour::INK; width * (height + CAPTION_HEIGHT)];
        Self {
            width,
            height,
            pixels,
        }
    }

    /// Asks for the colour of `samples` by `samples` points in each pixel and takes their mean.
    pub(crate) fn paint(&mut self, samples: usize, colour_at: impl Fn(f64, f64) -> Colour) {
        for y in 0..self.height {
            for x in 0..self.width {
                let mut mean = Colour {
                    red: 0.0,
                    green: 0.0,
                    blue: 0.0,
                };
                let inside = |at: usize| (at as f64 + 0.5) / samples as f64;
                for at in 0..samples * samples {
                    let sample = colour_at(
                        x as f64 + inside(at % samples),
                        y as f64 + inside(at / samples),
                    );
                    let share = 1.0 / (at + 1) as f64;
                    mean = mean.mix(sample, share);
                }
                self.pixels[y * self.width + x] = mean;
            }
        }
    }

    /// A disc with a soft edge and a dark rim.
    pub(crate) fn dot(&mut self, (x, y): (f64, f64), radius: f64, colour: Colour) {
        for row in 0..self.height {
            for column in 0..self.width {
                let distance = (column as f64 + 0.5 - x).hypot(row as f64 + 0.5 - y);
                let pixel = &mut self.pixels[row * self.width + column];
                *pixel = pixel.mix(Colour::INK, radius + 2.5 - distance);
                *pixel = pixel.mix(colour, radius + 0.5 - distance);
            }
        }
    }

    /// Writes a line of capitals into the bar.
    pub(crate) fn caption(&mut self, text: &str) {
        let top = self.height + (CAPTION_HEIGHT - font::HEIGHT * LETTER_SCALE) / 2;
        for (at, letter) in text.chars().enumerate() {
            let left = 10 + at * (font::WIDTH + 1) * LETTER_SCALE;
            for (row, column) in font::dots(letter) {
                for dot in 0..LETTER_SCALE * LETTER_SCALE {
                    let y = top + row * LETTER_SCALE + dot / LETTER_SCALE;
                    let x = left + column * LETTER_SCALE + dot % LETTER_SCALE;
                    self.pixels[y * self.width + x] = Colour::IVORY;
                }
            }
        }
    }

    /// Writes the picture as a PNG with eight bits a channel.
    pub(crate) fn write(&self, path: &Path) -> Result<(), png::EncodingError> {
        let height = self.height + CAPTION_HEIGHT;
        let mut file = BufWriter::new(File::create(path)?);
        let mut encoder = png::Encoder::new(&mut file, self.width as u32, height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::High);
        let bytes: Vec<u8> = self
            .pixels
            .iter()
            .flat_map(|pixel| pixel.to_bytes())
            .collect();
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&bytes)?;
        writer.finish()?;
        Ok(file.flush()?)
    }
}
