//! What classes are called, where that is known.

use std::path::Path;

use super::emnist;

/// The file beside the four others that names the classes, a line each.
pub const FILE: &str = "classes.txt";

/// The most bytes of such a file.
pub const MAX_BYTES: u64 = 1 << 16;

/// The MD5 of MNIST's training images.
pub(super) const MNIST_MD5: &str = "6bbc9ace898e44ae57da46a324031adb";

/// The MD5 of Fashion-MNIST's training images, whatever their file is called.
const FASHION_MD5: &str = "f4a8712d7a061bf5bd6d2ca38dc4d50a";

/// Zalando's labels (Xiao, Rasul, Vollgraf, *Fashion-MNIST*, 2017).
const FASHION: &str = "T-shirt/top|Trouser|Pullover|Dress|Coat|Sandal|Shirt|Sneaker|Bag|Ankle boot";

/// Kuzushiji-MNIST's (Clanuwat and others, *Deep Learning for Classical Japanese Literature*, 2018).
const KMNIST: &str = "お|き|す|つ|な|は|ま|や|れ|を";

/// A data set that has a name, and what its classes are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The data set.
    pub name: &'static str,
    /// Its classes.
    pub classes: Vec<String>,
}

/// The data set that lies in `folder` in files with `prefix`, whose training images have this MD5
/// and so many classes; none, if it is not one of those known here. A folder is known by its own name,
/// or by that of the folder around it where it is called `raw`, as torchvision has it.
pub fn known(folder: &Path, prefix: Option<&str>, md5: &str, classes: usize) -> Option<Known> {
    let name = |path: &Path| {
        let name = path.file_name()?.to_string_lossy().to_lowercase();
        Some(name.replace(['-', '_'], ""))
    };
    let folder = match name(folder) {
        Some(raw) if raw == "raw" => folder.parent().and_then(name),
        own => own,
    };
    // Digits are digits wherever they lie.
    let folder = folder.filter(|_| md5 != MNIST_MD5).unwrap_or_default();
    let named = |name, text: &str| Known {
        name,
        classes: text.split('|').map(str::to_owned).collect(),
    };
    let known = match prefix.map(str::to_lowercase) {
        Some(prefix) if emnist::is_prefix(&prefix) => {
            let (name, classes) = match prefix.strip_prefix("emnist-")? {
                "letters" => ("EMNIST letters", letters('A')),
                "digits" => ("EMNIST digits", numbers(10)),
                "mnist" => ("EMNIST mnist", numbers(10)),
                // Lower-case letters that look like their capitals are counted as those.
                "balanced" => ("EMNIST balanced", merged()),
                "bymerge" => ("EMNIST bymerge", merged()),
                "byclass" => {
                    let classes = [numbers(10), letters('A'), letters('a')];
                    ("EMNIST byclass", classes.concat())
                }
                _ => return None,
            };
            Known { name, classes }
        }
        _ if md5 == FASHION_MD5 || folder == "fashionmnist" => named("Fashion-MNIST", FASHION),
        _ if folder == "kmnist" || folder == "kuzushijimnist" => named("KMNIST", KMNIST),
        _ => return None,
    };
    (known.classes.len() == classes).then_some(known)
}

/// The classes by their numbers.
pub fn numbers(classes: usize) -> Vec<String> {
    (0..classes).map(|class| class.to_string()).collect()
}

/// The names in the text of a [`FILE`], if they are as many as the classes.
pub fn parse(text: &str, classes: usize) -> Option<Vec<String>> {
    let names: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
    (names.len() == classes && names.iter().all(|name| !name.is_empty())).then_some(names)
}

/// The 26 from `first` on.
fn letters(first: char) -> Vec<String> {
    (first..).take(26).map(String::from).collect()
}

/// Digits, capitals, and the lower-case letters that differ from those.
fn merged() -> Vec<String> {
    let others = "abdefghnqrt".chars().map(String::from).collect();
    [numbers(10), letters('A'), others].concat()
}
