//! What people see: lines, numbers, the progress bar, the confusion matrix, curves, images.

mod axis;
pub mod blocks;
pub mod canvas;
mod confusion;
pub mod curves;
mod font;
pub mod grid;
pub mod plot;
mod png;
mod progress;
mod series;
mod svg;

use std::fmt;
use std::io::{self, IsTerminal, Write};

pub use confusion::Confusion;
pub use progress::Bar;

/// Writes a line of results to stdout, in plain characters: what a terminal would obey, in the
/// name of a file or in what a file says of itself, is shown as JSON has it. A pipe that the
/// reader has closed takes it silently, as nobody is left to read it.
pub fn line(text: fmt::Arguments) -> io::Result<()> {
    drawn(&plain(&text.to_string()))
}

/// Writes text of our own to stdout, of several lines perhaps, and with colours; else as [`line`].
pub fn drawn(text: &str) -> io::Result<()> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(|error| io::Error::new(error.kind(), format!("stdout: {error}"))),
    }
}

/// Writes a message to stderr, in plain characters as [`line`]. If that fails there is nowhere to
/// say so.
pub fn note(text: fmt::Arguments) {
    drawn_note(&plain(&text.to_string()));
}

/// Writes text of our own to stderr, of several lines perhaps, and with colours.
pub fn drawn_note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// The text with every control character as JSON has it: `\u001b`.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => plain += &format!("\\u{:04x}", u32::from(character)),
            false => plain.push(character),
        }
    }
    plain
}

/// Whether the terminal may be drawn upon: stderr is one that can be, and `NO_COLOR` is unset or
/// empty (no-color.org).
pub fn may_draw() -> bool {
    io::stderr().is_terminal() && !dumb() && !no_color()
}

/// Whether stdout may have colour: it is a terminal that has or `CLICOLOR_FORCE` says so, and
/// `NO_COLOR` is unset or empty.
pub fn may_colour() -> bool {
    let forced = std::env::var_os("CLICOLOR_FORCE");
    let forced = forced.is_some_and(|value| !value.is_empty() && value != "0");
    (io::stdout().is_terminal() && !dumb() || forced) && !no_color()
}

/// Whether the terminal says that it obeys no sequences.
fn dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|value| value == "dumb")
}

fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// The columns and rows of the terminal that `stream` is, or 80 and 24 where it is none.
#[cfg(unix)]
pub fn terminal_size(stream: impl std::os::fd::AsFd) -> [u16; 2] {
    ::terminal_size::terminal_size_of(stream)
        .map_or([80, 24], |(width, height)| [width.0, height.0])
}

/// The columns and rows of the terminal that `stream` is, or 80 and 24 where it is none.
#[cfg(windows)]
pub fn terminal_size(stream: impl std::os::windows::io::AsHandle) -> [u16; 2] {
    ::terminal_size::terminal_size_of(stream)
        .map_or([80, 24], |(width, height)| [width.0, height.0])
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

/// A number of bytes in the unit that suits it: 87.4 kB. Units are powers of 1000.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if number < 1000 {
        return format!("{number} B");
    }
    let mut size = number as f64 / 1e3;
    let mut units = UNITS.into_iter().peekable();
    // 999.95 would be rounded to 1000.0.
    while size >= 999.95 && units.len() > 1 {
        size /= 1e3;
        units.next();
    }
    format!("{size:.1} {}", units.next().unwrap_or_default())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_has_nothing_to_obey() {
        let text = "a\x1b]0;b\x07\n\u{9b}31m \u{7f}お é";
        assert_eq!(plain(text), r"a\u001b]0;b\u0007\u000a\u009b31m \u007fお é");
    }

    #[test]
    fn bytes_are_in_the_unit_that_suits_them() {
        for (number, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (87_360, "87.4 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (4_615_104, "4.6 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }
}
