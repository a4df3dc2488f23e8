//! A folder of pictures, one sub-folder a class, as the four IDX files of a training set.
//!
//! ```text
//! FOLDER/cat/one.png            FOLDER/train/cat/one.png
//! FOLDER/cat/two.jpg      or    FOLDER/test/cat/two.jpg
//! FOLDER/dog/three.png          FOLDER/train/dog/three.png
//! ```
//!
//! In the first form a share of every class is drawn for the test set. Files whose names begin
//! with a dot are not looked at.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::{Builder, TempDir};
use thiserror::Error;

use super::{PictureError, open};
use crate::data::{Elements, Idx, IdxError, class_names, idx, shuffled};
use crate::files::{remove, sync_folder, write_whole};

/// The most classes: labels are bytes.
pub const MAX_CLASSES: usize = 256;

/// The files that are written: training images and labels, test images and labels, and the
/// classes' names.
pub const FILES: [&str; 5] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
    class_names::FILE,
];

/// A folder that makes no training set.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The operating system could not.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A picture cannot be read.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// There is no sub-folder.
    #[error("{}: there is no folder in it; each class has one, with its pictures", .0.display())]
    NoClass(PathBuf),
    /// A sub-folder without a picture.
    #[error("{}: there is no picture in it", .0.display())]
    NoPicture(PathBuf),
    /// A file where folders should be.
    #[error("{}: beside the folders of the classes there is nothing but those", .0.display())]
    Beside(PathBuf),
    /// A name that cannot be written as a line of its own.
    #[error("{}: the name of a class must be plain text, and no other's", .0.display())]
    Name(PathBuf),
    /// More than [`MAX_CLASSES`].
    #[error("{}: {found} classes; there can be {MAX_CLASSES}", folder.display())]
    TooManyClasses {
        /// The folder.
        folder: PathBuf,
        /// How many there are.
        found: usize,
    },
    /// A class of the test set alone.
    #[error("{}: a class that the training pictures do not have", .0.display())]
    OnlyTested(PathBuf),
    /// Nothing to measure on.
    #[error("{}: a test picture is needed, so one class must have two or more", .0.display())]
    NoTest(PathBuf),
    /// More than [`idx::MAX_BYTES`].
    #[error("{}: the pictures are more than {} bytes together", .0.display(), idx::MAX_BYTES)]
    TooLarge(PathBuf),
    /// A file is already there.
    #[error("{}: it is there already; --overwrite replaces it", .0.display())]
    Taken(PathBuf),
    /// The files' contents could not be made.
    #[error(transparent)]
    Idx(#[from] IdxError),
}

/// How pictures become images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Channels (1 gray, 3 red, green, blue), height, width.
    pub shape: [usize; 3],
    /// The share of every class that is drawn for the test set.
    pub test: f64,
    /// What it is drawn from, and the order of the training images.
    pub seed: u64,
}

/// Images with labels, still as bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// (N, C, H, W)
    pub bytes: Vec<u8>,
    /// (N)
    pub labels: Vec<u8>,
}

/// What was read from a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    shape: [usize; 3],
    /// The classes' names, in the order of the labels.
    pub class_names: Vec<String>,
    /// What a network learns from, in no order.
    pub train: Part,
    /// What it is measured on.
    pub test: Part,
}

/// A picture and the class that it shows.
type Labelled = (PathBuf, u8);

/// The classes' names, and the pictures of the training set and of the test set.
type Split = (Vec<String>, Vec<Labelled>, Vec<Labelled>);

/// Reads every picture of `folder`.
///
/// # Errors
/// Naming the file or folder that does not suit.
pub fn import(folder: &Path, options: &Options) -> Result<Imported, ImportError> {
    let names: Vec<String> = folders(folder)?.into_iter().map(|(name, _)| name).collect();
    let (classes, mut train, test) = match &names[..] {
        [test, train] if test == "test" && train == "train" => split_by_hand(folder)?,
        _ => split_by_chance(folder, options)?,
    };
    if test.is_empty() {
        return Err(ImportError::NoTest(folder.to_owned()));
    }
    let pixels = options.shape.iter().product::<usize>() as u64;
    if (train.len().max(test.len()) as u64).saturating_mul(pixels) > idx::MAX_BYTES {
        return Err(ImportError::TooLarge(folder.to_owned()));
    }
    // So that the last of them, which may be held out to judge by, are of all classes.
    let order = shuffled(train.len(), options.seed, 0);
    train = order.iter().map(|&n| train[n as usize].clone()).collect();
    Ok(Imported {
        shape: options.shape,
        class_names: classes,
        train: read(&train, options.shape)?,
        test: read(&test, options.shape)?,
    })
}

impl Imported {
    /// Writes [`FILES`] into the folder at `to`, which is made if need be. Nothing is written unless
    /// none is there or `overwrite` says so. All are written beside those that are there, which then
    /// make room: a set is never of two minds.
    ///
    /// # Errors
    /// Naming the file that is there already or cannot be written.
    pub fn write(self, to: &Path, overwrite: bool) -> Result<(), ImportError> {
        let paths = FILES.map(|name| to.join(name));
        let taken = |path: &&PathBuf| fs::symlink_metadata(path).is_ok();
        if let Some(path) = paths.iter().find(taken)
            && !overwrite
        {
            return Err(ImportError::Taken(path.clone()));
        }
        let error = |path: &Path, source| ImportError::Io {
            path: path.to_owned(),
            source,
        };
        fs::create_dir_all(to).map_err(|e| error(to, e))?;
        let new = Builder::new().prefix(".import-").tempdir_in(to);
        let new = new.map_err(|e| error(to, e))?;
        // One after the other, so that one is in memory twice.
        let [train, test] = [self.train, self.test].map(|part| part.idx(self.shape));
        let idx = train.into_iter().chain(test);
        for (idx, path) in idx.zip(&paths) {
            let mut file = Vec::new();
            idx.write(&path.display().to_string(), &mut file)?;
            write_at(&new, path, &file).map_err(|e| error(path, e))?;
        }
        let (names, path) = (self.class_names.join("\n") + "\n", &paths[4]);
        write_at(&new, path, names.as_bytes()).map_err(|e| error(path, e))?;
        // A set with a file missing is refused, should this be where it ends: the images go first, and
        // come last.
        let [images, others @ ..] = &paths;
        remove(images).map_err(|e| error(images, e))?;
        for path in others.iter().chain([images]) {
            let from = new.path().join(path.file_name().unwrap_or_default());
            fs::rename(from, path).map_err(|e| error(path, e))?;
        }
        sync_folder(to).map_err(|e| error(to, e))
    }
}

/// Writes what will be at `path` into the folder `new`.
fn write_at(new: &TempDir, path: &Path, contents: &[u8]) -> io::Result<()> {
    write_whole(
        &new.path().join(path.file_name().unwrap_or_default()),
        contents,
    )
}

impl Part {
    /// The images, (N, H, W) if they are gray, else (N, C, H, W), and the labels.
    fn idx(self, shape: [usize; 3]) -> [Idx; 2] {
        let n = self.labels.len();
        let sizes = match shape {
            [1, height, width] => vec![n, height, width],
            [channels, height, width] => vec![n, channels, height, width],
        };
        [(sizes, self.bytes), (vec![n], self.labels)].map(|(sizes, bytes)| Idx {
            sizes,
            elements: Elements::U8(bytes.into()),
        })
    }
}

fn read(pictures: &[Labelled], shape: [usize; 3]) -> Result<Part, ImportError> {
    let mut part = Part::default();
    for (path, label) in pictures {
        part.bytes.extend(open(path, shape)?.bytes());
        part.labels.push(*label);
    }
    Ok(part)
}

/// The classes, and the pictures of `folder/train` and `folder/test`.
fn split_by_hand(folder: &Path) -> Result<Split, ImportError> {
    let classes = classes(&folder.join("train"))?;
    let mut train = Vec::new();
    for ((_, path), label) in classes.iter().zip(0..=u8::MAX) {
        train.extend(pictures(path)?.into_iter().map(|picture| (picture, label)));
    }
    let mut test = Vec::new();
    for (name, path) in folders(&folder.join("test"))? {
        let Some(label) = classes.iter().position(|(class, _)| *class == name) else {
            return Err(ImportError::OnlyTested(path));
        };
        test.extend(
            pictures(&path)?
                .into_iter()
                .map(|picture| (picture, label as u8)),
        );
    }
    let names = classes.into_iter().map(|(name, _)| name).collect();
    Ok((names, train, test))
}

/// The classes, and the pictures of each, a part drawn for the test set: not all, and where there
/// are two or more at least one.
fn split_by_chance(folder: &Path, options: &Options) -> Result<Split, ImportError> {
    let classes = classes(folder)?;
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for ((_, path), label) in classes.iter().zip(0..=u8::MAX) {
        let pictures = pictures(path)?;
        let most = pictures.len() - 1;
        let share = (options.test * pictures.len() as f64).round() as usize;
        let count = share.clamp(most.min(1), most);
        let order = shuffled(pictures.len(), options.seed, 1 + u32::from(label));
        for (place, n) in order.into_iter().enumerate() {
            let part = if place < count { &mut test } else { &mut train };
            part.push((pictures[n as usize].clone(), label));
        }
    }
    let names = classes.into_iter().map(|(name, _)| name).collect();
    Ok((names, train, test))
}

/// The folders of the classes, by name: numbers by their size.
fn classes(folder: &Path) -> Result<Vec<(String, PathBuf)>, ImportError> {
    let mut classes = folders(folder)?;
    if classes.is_empty() {
        return Err(ImportError::NoClass(folder.to_owned()));
    }
    if classes.len() > MAX_CLASSES {
        return Err(ImportError::TooManyClasses {
            folder: folder.to_owned(),
            found: classes.len(),
        });
    }
    // Spaces at a name's ends are not part of it.
    let same = |index: &usize| {
        let (name, _) = &classes[*index];
        name.is_empty() || classes[..*index].iter().any(|(other, _)| other == name)
    };
    if let Some(index) = (0..classes.len()).find(same) {
        return Err(ImportError::Name(classes.swap_remove(index).1));
    }
    if classes.iter().all(|(name, _)| name.parse::<u64>().is_ok()) {
        classes.sort_by_key(|(name, _)| name.parse::<u64>().unwrap_or(0));
    }
    Ok(classes)
}

/// The folders in a folder, in which nothing else is, by name.
fn folders(folder: &Path) -> Result<Vec<(String, PathBuf)>, ImportError> {
    let paths = entries(folder)?.into_iter().map(|path| {
        if !path.is_dir() {
            return Err(ImportError::Beside(path));
        }
        let name = path.file_name().and_then(|name| name.to_str());
        match name.filter(|name| !name.contains(char::is_control)) {
            Some(name) => Ok((name.trim().to_owned(), path)),
            None => Err(ImportError::Name(path)),
        }
    });
    paths.collect()
}

/// The files in a folder of pictures, at least one, by name.
fn pictures(folder: &Path) -> Result<Vec<PathBuf>, ImportError> {
    match entries(folder)? {
        none if none.is_empty() => Err(ImportError::NoPicture(folder.to_owned())),
        pictures => Ok(pictures),
    }
}

/// What is in a folder, by name, but for hidden files.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, ImportError> {
    let error = |source| ImportError::Io {
        path: folder.to_owned(),
        source,
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(error)? {
        let entry = entry.map_err(error)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}
