//! Images as text: half blocks in colour, or characters by brightness.

use unicode_width::UnicodeWidthStr;

/// What text may be written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// Characters alone.
    Plain,
    /// The 256 colours of xterm.
    Colours256,
    /// Red, green and blue of 8 bits each.
    TrueColour,
}

impl Ink {
    /// What stdout may have, by its kind and the environment.
    pub fn of_stdout() -> Self {
        let true_colour = || {
            let term = std::env::var_os("COLORTERM");
            term.is_some_and(|term| term == "truecolor" || term == "24bit")
        };
        match super::may_colour() {
            false => Self::Plain,
            true if true_colour() => Self::TrueColour,
            true => Self::Colours256,
        }
    }
}

/// An image with the words above it.
pub struct Captioned<'a> {
    /// The words.
    pub caption: String,
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// The pixels, in that order.
    pub bytes: &'a [u8],
}

/// Columns between two images.
const GAP: usize = 2;

/// Lines of text that show `images`, as many side by side as `width` columns allow.
pub fn side_by_side(images: &[Captioned], width: usize, ink: Ink) -> Vec<String> {
    let drawn: Vec<Drawing> = images
        .iter()
        .map(|image| Drawing::of(image, width, ink))
        .collect();
    let cell = drawn.iter().map(|drawing| drawing.width).max().unwrap_or(0);
    let columns = ((width + GAP) / (cell + GAP)).max(1);
    let mut lines = Vec::new();
    for row in drawn.chunks(columns) {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        let height = row.iter().map(|drawing| drawing.lines.len()).max();
        for index in 0..height.unwrap_or(0) {
            let mut line = String::new();
            for drawing in row {
                let (text, columns) = drawing.line(index);
                line += text;
                line += &" ".repeat(cell - columns + GAP);
            }
            lines.push(line.trim_end().to_owned());
        }
    }
    lines
}

/// One image as text, the caption on its first line.
struct Drawing {
    /// The columns that the widest line takes.
    width: usize,
    /// Each line, with the columns that it takes.
    lines: Vec<(String, usize)>,
}

impl Drawing {
    fn of(image: &Captioned, width: usize, ink: Ink) -> Self {
        let pixels = Pixels::of(image).shrunk_to(width);
        let caption = (image.caption.clone(), image.caption.width());
        let lines: Vec<(String, usize)> = [caption]
            .into_iter()
            .chain(draw(&pixels, ink).map(|line| (line, pixels.width)))
            .collect();
        let width = lines.iter().map(|(_, columns)| *columns).max();
        Self {
            width: width.unwrap_or(0),
            lines,
        }
    }

    fn line(&self, index: usize) -> (&str, usize) {
        let line = self.lines.get(index);
        line.map_or(("", 0), |(text, columns)| (text, *columns))
    }
}

type Pixel = [u8; 3];

/// An image in red, green and blue.
struct Pixels {
    width: usize,
    /// (H, W)
    pixels: Vec<Pixel>,
}

impl Pixels {
    /// Three channels are taken for colours; any other number is averaged to gray.
    fn of(image: &Captioned) -> Self {
        let [channels, height, width] = image.shape;
        let area = height * width;
        let pixel = |place: usize| {
            let at = |channel: usize| image.bytes[channel * area + place];
            match channels {
                3 => [at(0), at(1), at(2)],
                _ => [mean((0..channels).map(at)); 3],
            }
        };
        Self {
            width,
            pixels: (0..area).map(pixel).collect(),
        }
    }

    /// The image with at most so many columns, in its proportions; each new pixel is the mean of
    /// those that it covers, if only in part.
    fn shrunk_to(self, width: usize) -> Self {
        if self.width <= width.max(1) {
            return self;
        }
        let height = self.pixels.len() / self.width;
        let width = width.max(1);
        let rows = (height * width / self.width).max(1);
        let covered = |place: usize, of: usize, old: usize| {
            let end = ((place + 1) * old).div_ceil(of);
            place * old / of..end
        };
        let mut pixels = Vec::with_capacity(rows * width);
        for row in 0..rows {
            for column in 0..width {
                pixels.push([0, 1, 2].map(|channel| {
                    let columns = covered(column, width, self.width);
                    mean(covered(row, rows, height).flat_map(|y| {
                        let line = &self.pixels[y * self.width..][columns.clone()];
                        line.iter().map(move |pixel| pixel[channel])
                    }))
                }));
            }
        }
        Self { width, pixels }
    }
}

/// The mean of some bytes, rounded; 0 of none.
fn mean(bytes: impl Iterator<Item = u8>) -> u8 {
    let (sum, count) = bytes.fold((0_u64, 0_u64), |(sum, count), byte| {
        (sum + u64::from(byte), count + 1)
    });
    ((sum + count / 2) / count.max(1)) as u8
}

/// Lines of text. A character is about twice as high as wide, so it stands for two pixels, one
/// above the other.
fn draw(image: &Pixels, ink: Ink) -> impl Iterator<Item = String> {
    image.pixels.chunks(2 * image.width).map(move |two| {
        let (upper, lower) = two.split_at(image.width);
        let pairs = (upper.iter().enumerate()).map(|(x, &pixel)| (pixel, lower.get(x).copied()));
        match ink {
            Ink::Plain => pairs
                .map(|(upper, lower)| character(upper, lower))
                .collect(),
            _ => half_blocks(pairs, ink),
        }
    })
}

/// The brighter, the more ink.
fn character(upper: Pixel, lower: Option<Pixel>) -> char {
    const RAMP: &[u8; 10] = b" .:-=+*#%@";
    let brightness = mean(upper.into_iter().chain(lower.into_iter().flatten()));
    char::from(RAMP[usize::from(brightness) * RAMP.len() / 256])
}

/// A line of upper half blocks: the pixel above is the block's colour, the pixel below its
/// ground's. Both are always set, so that the terminal's own colours do not matter.
fn half_blocks(pairs: impl Iterator<Item = (Pixel, Option<Pixel>)>, ink: Ink) -> String {
    let mut line = String::new();
    let mut last = None;
    for pair in pairs {
        if last != Some(pair) {
            last = Some(pair);
            let block = colour(pair.0, ink);
            // Below the last row of an odd number lies the terminal's own ground.
            let ground = pair.1.map_or("49".to_owned(), |pixel| {
                format!("48;{}", colour(pixel, ink))
            });
            line += &format!("\x1b[38;{block};{ground}m");
        }
        line.push('▀');
    }
    line + "\x1b[0m"
}

/// What follows 38 or 48 in an escape sequence.
fn colour([red, green, blue]: Pixel, ink: Ink) -> String {
    if ink == Ink::TrueColour {
        return format!("2;{red};{green};{blue}");
    }
    if red == green && green == blue {
        return format!("5;{}", gray(red));
    }
    let [red, green, blue] = [red, green, blue].map(cube);
    format!("5;{}", 16 + 36 * red + 6 * green + blue)
}

/// The nearest of black (16), white (231), and the ramp of 24 grays between them, which are 8, 18
/// and so on to 238.
fn gray(byte: u8) -> u8 {
    match byte {
        0..=4 => 16,
        247..=255 => 231,
        _ => 232 + ((byte - 3) / 10).min(23),
    }
}

/// The nearest of the six steps of a colour in the cube, which are 0, 95, 135, 175, 215 and 255.
fn cube(byte: u8) -> u8 {
    match byte {
        0..=47 => 0,
        48..=114 => 1,
        _ => (byte - 35) / 40,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(shape: [usize; 3], bytes: &[u8], width: usize, ink: Ink) -> Vec<String> {
        let caption = "#0".to_owned();
        let image = Captioned {
            caption,
            shape,
            bytes,
        };
        side_by_side(&[image], width, ink)
    }

    #[test]
    fn plain_text_has_a_character_for_two_rows() {
        let bytes = [0, 255, 128, 0, 255, 128, 255, 0, 0];
        let lines = text([1, 3, 3], &bytes, 80, Ink::Plain);
        assert_eq!(lines, ["#0", " @+", "@"]);
    }

    #[test]
    fn captions_take_the_columns_that_a_terminal_gives_them() {
        let image = |caption: &str| Captioned {
            caption: caption.to_owned(),
            shape: [1, 2, 5],
            bytes: &[255; 10],
        };
        let images = [image("#0 き"), image("#1 a")];
        let lines = side_by_side(&images, 80, Ink::Plain);
        // Kana are two columns wide.
        assert_eq!(lines, ["#0 き  #1 a", "@@@@@  @@@@@"]);
    }

    #[test]
    fn a_half_block_has_the_upper_pixel_before_the_lower() {
        let lines = text([1, 3, 2], &[0, 0, 255, 255, 108, 8], 80, Ink::Colours256);
        let expected = [
            "#0",
            "\x1b[38;5;16;48;5;231m▀▀\x1b[0m",
            "\x1b[38;5;242;49m▀\x1b[38;5;232;49m▀\x1b[0m",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn three_channels_are_colours_and_two_are_gray() {
        let red = [255, 255, 0, 0, 0, 0];
        let lines = text([3, 2, 1], &red, 80, Ink::Colours256);
        assert_eq!(lines[1], "\x1b[38;5;196;48;5;196m▀\x1b[0m");
        let lines = text([3, 2, 1], &red, 80, Ink::TrueColour);
        assert_eq!(lines[1], "\x1b[38;2;255;0;0;48;2;255;0;0m▀\x1b[0m");
        let lines = text([2, 1, 2], &[255, 255, 255, 1], 80, Ink::Plain);
        assert_eq!(lines[1], "@+");
    }

    #[test]
    fn every_gray_and_step_is_the_nearest() {
        let ramp = (0..24).map(|index| (232 + index, 8 + 10 * i32::from(index)));
        let grays: Vec<(u8, i32)> = ramp.chain([(16, 0), (231, 255)]).collect();
        let steps = [0, 95, 135, 175, 215, 255];
        for byte in 0..=255 {
            let far = |level: i32| (level - i32::from(byte)).abs();
            let nearest = grays.iter().map(|&(_, level)| far(level)).min();
            let (_, level) = grays.iter().find(|(code, _)| *code == gray(byte)).unwrap();
            assert_eq!(Some(far(*level)), nearest, "{byte}");
            let nearest = steps.iter().map(|&level| far(level)).min();
            assert_eq!(Some(far(steps[usize::from(cube(byte))])), nearest, "{byte}");
        }
    }

    #[test]
    fn a_wide_image_is_shrunk_by_averaging_and_keeps_its_shape() {
        // Dark and light halves stay, dark and light stripes make gray.
        let bytes: Vec<u8> = (0..4 * 8)
            .map(|n| if n % 8 < 4 { 0 } else { 255 })
            .collect();
        assert_eq!(text([1, 4, 8], &bytes, 4, Ink::Plain), ["#0", "  @@"]);
        let stripes: Vec<u8> = (0..4 * 8)
            .map(|n| if n % 2 == 0 { 0 } else { 255 })
            .collect();
        assert_eq!(text([1, 4, 8], &stripes, 4, Ink::Plain), ["#0", "++++"]);
        // Not a divisor, and no room at all.
        assert_eq!(text([1, 4, 8], &[128; 32], 3, Ink::Plain), ["#0", "+++"]);
        assert_eq!(text([1, 4, 8], &stripes, 0, Ink::Plain), ["#0", "+"]);
    }

    #[test]
    fn images_stand_side_by_side_while_there_is_room() {
        let images = ["#9", "#10", "#11"].map(|caption| Captioned {
            caption: caption.to_owned(),
            shape: [1, 2, 2],
            bytes: &[255; 4],
        });
        let lines = |width| side_by_side(&images, width, Ink::Plain);
        assert_eq!(lines(13), ["#9   #10  #11", "@@   @@   @@"]);
        let two = ["#9   #10", "@@   @@", "", "#11", "@@"];
        assert_eq!(lines(12), two);
        assert_eq!(lines(8), two);
        assert_eq!(lines(7).len(), 8);
    }
}
