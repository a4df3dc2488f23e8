//! What people see: lines, numbers, the progress bar, the confusion matrix, pictures.

mod axis;
pub mod canvas;
mod confusion;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the command `train` is to call it")
)]
pub mod curves;
pub mod grid;
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the command `train` is to call it")
)]
pub mod plot;
mod progress;
mod series;

use std::fmt;
use std::io::{self, IsTerminal, Write};

pub use confusion::Confusion;
pub use progress::Bar;

/// Writes a line of results to stdout. A pipe that the reader has closed takes it silently, as
/// nobody is left to read it.
pub fn line(text: fmt::Arguments) -> io::Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| io::Error::new(error.kind(), format!("stdout: {error}"))),
    }
}

/// Writes a message to stderr. If that fails there is nowhere to say so.
pub fn note(text: fmt::Arguments) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether the terminal may be drawn upon: stderr is one, and `NO_COLOR` is unset or empty
/// (no-color.org).
pub fn may_draw() -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !no_color
}

/// A whole number with commas: 60,000.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A share as per cent: 98.63 %.
pub fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// A share as a bar of at most `width` characters, in eighths of a character.
pub fn bar(share: f64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * 8.0 * width as f64).round() as usize;
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}
