//! How a lab that runs in the background says that its hosts are there.

use anyhow::{Context, Result, anyhow, bail};
use std::io::{BufRead, BufReader};

/// What a lab says on its standard output once its hosts are there.
pub const READY: &str = "ready";

/// Waits until a lab that was started with its standard output piped is up.
pub fn wait_until_ready(child: &mut std::process::Child) -> Result<()> {
    let stdout = child
        .stdout
        .take()
        .ok_or_else(|| anyhow!("the lab's output is not piped"))?;
    let mut line = String::new();
    BufReader::new(stdout)
        .read_line(&mut line)
        .context("cannot read from the lab")?;
    if line.trim() != READY {
        bail!("the lab did not come up");
    }
    Ok(())
}
