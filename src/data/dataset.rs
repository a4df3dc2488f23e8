//! Images with labels, and the checks that make four IDX files a training set.

use std::fs;
use std::io;
use std::ops::Range;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::class_names;
use super::emnist::{self, Emnist};
use super::idx::{Elements, Idx, IdxError};
use super::images::Images;
use super::normalisation::Normalisation;
use crate::digest;
use crate::files::read_at_most;

/// The most pixels that one image may have, channels counted: 2^24.
pub const MAX_PIXELS: usize = 1 << 24;

/// Four files that make no training set.
#[derive(Debug, Error)]
pub enum DataError {
    /// One of them is no IDX file.
    #[error(transparent)]
    Idx(#[from] IdxError),
    /// One of them is an IDX file, but not of the right kind.
    #[error("{file}: byte {offset}: {fault}")]
    Unsuited {
        /// The file's path, or its name inside the program.
        file: String,
        /// Where in the file, after gzip is undone.
        offset: u64,
        /// What is wrong there.
        fault: DataFault,
    },
    /// A file is not in the folder under any of its names.
    #[error("{}: neither {name} nor {name}.gz is there, nor in raw or MNIST/raw below it{}", folder.display(), others(.prefixes))]
    Missing {
        /// The folder that was searched.
        folder: PathBuf,
        /// The name that was looked for.
        name: String,
        /// The prefixes of such files that are there.
        prefixes: Vec<String>,
    },
    /// The file that names the classes cannot be read.
    #[error("{}: {fault}", path.display())]
    ClassNames {
        /// The file.
        path: PathBuf,
        /// Why.
        fault: io::Error,
    },
}

/// What can be wrong with an IDX file as part of a training set.
#[derive(Debug, Error, PartialEq)]
pub enum DataFault {
    /// The elements are not `u8`.
    #[error("{what} are u8 (type 08), these are of type {code:02x}")]
    ElementType {
        /// Images or labels.
        what: &'static str,
        /// The type's code in the header.
        code: u8,
    },
    /// The wrong number of dimensions.
    #[error("{what}, this file has {found} dimensions")]
    Rank {
        /// What is needed.
        what: &'static str,
        /// What the file has.
        found: usize,
    },
    /// A dimension of size zero.
    #[error("dimension {0} has size 0")]
    Empty(usize),
    /// Images of more than [`MAX_PIXELS`] pixels.
    #[error("an image of {0:?} has more than {MAX_PIXELS} pixels")]
    TooLarge([usize; 3]),
    /// Not as many labels as images.
    #[error("{labels} labels for {images} images")]
    Count {
        /// How many labels.
        labels: usize,
        /// How many images.
        images: usize,
    },
    /// Test images of another size than the training images.
    #[error("test images of {test:?}, but training images of {train:?} (channels, height, width)")]
    Size {
        /// The test images' shape.
        test: [usize; 3],
        /// The training images' shape.
        train: [usize; 3],
    },
    /// A test label that no training example has.
    #[error("label {label}, but the training labels are {first} to {last}")]
    Label {
        /// The label.
        label: u8,
        /// The first class's.
        first: u8,
        /// The last class's.
        last: u8,
    },
}

/// One of the four files of a training set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `train-images-idx3-ubyte`
    TrainImages,
    /// `train-labels-idx1-ubyte`
    TrainLabels,
    /// `t10k-images-idx3-ubyte`, or `test-…`
    TestImages,
    /// `t10k-labels-idx1-ubyte`, or `test-…`
    TestLabels,
}

impl Part {
    /// The file's usual names: MNIST and its relatives call the test set `t10k`, EMNIST `test`.
    fn names(self) -> &'static [&'static str] {
        match self {
            Part::TrainImages => &["train-images-idx3-ubyte"],
            Part::TrainLabels => &["train-labels-idx1-ubyte"],
            Part::TestImages => &["t10k-images-idx3-ubyte", "test-images-idx3-ubyte"],
            Part::TestLabels => &["t10k-labels-idx1-ubyte", "test-labels-idx1-ubyte"],
        }
    }
}

/// Images with a label each.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    images: Images,
    labels: Vec<u8>,
    classes: usize,
}

impl Dataset {
    /// `images` with `labels`, which are `0..classes`; or `None` if there are not as many labels
    /// as images, at least one, fewer than 2^32, and all inside the classes.
    pub fn new(images: Images, labels: Vec<u8>, classes: usize) -> Option<Self> {
        let right = !labels.is_empty()
            && labels.len() == images.len()
            && u32::try_from(labels.len()).is_ok()
            && labels.iter().all(|&label| usize::from(label) < classes);
        right.then_some(Self {
            images,
            labels,
            classes,
        })
    }

    /// The images.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// The labels, one an image.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The number of examples, at least 1.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Never: a dataset has at least one example.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The examples of `range` as a dataset of their own, or `None` if the range is empty or
    /// reaches beyond the last.
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        let labels = self.labels.get(range.clone())?.to_vec();
        let pixels = self.images.pixels();
        let bytes = self.images.bytes()[range.start * pixels..range.end * pixels].to_vec();
        Self::new(
            Images::new(self.images.shape(), bytes)?,
            labels,
            self.classes,
        )
    }
}

/// A training set and its test set, with what a model must remember of them.
#[derive(Clone, Debug)]
pub struct Data {
    /// What it is called: `MNIST`, or the folder's path.
    pub name: String,
    /// What a network learns from.
    pub train: Dataset,
    /// What it is measured on.
    pub test: Dataset,
    /// How pixels become numbers.
    pub normalisation: Normalisation,
    /// What the classes are called; their numbers, where nothing else is known.
    pub class_names: Vec<String>,
    /// What was put right, if they are EMNIST's.
    pub emnist: Option<Emnist>,
    /// The four files, training images first: which data these are.
    pub files: Vec<SourceFile>,
}

/// A file that data were read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Its path, or its name inside the program.
    pub name: String,
    /// The MD5 of its contents, after gzip is undone, in hexadecimal.
    pub md5: String,
}

/// One of the four files, read.
pub(super) struct Source {
    pub(super) name: String,
    pub(super) idx: Idx,
    /// Of a [`SourceFile`], where it is known.
    pub(super) md5: Option<&'static str>,
}

impl Data {
    /// Reads the four files from `folder`, or from `raw` or `MNIST/raw` below it, where torchvision
    /// puts them; plain or gzipped; with `prefix` as in `emnist-letters-train-images-idx3-ubyte`,
    /// which says that they are EMNIST's.
    ///
    /// They are normalised with the mean and deviation of their own training images, which for
    /// MNIST are the usual figures. Classes have the names of `classes.txt` in the folder, or else
    /// those of a data set that is known ([`class_names`]).
    ///
    /// # Errors
    /// If a file is missing or damaged, or the four make no training set.
    pub fn open(folder: &Path, prefix: Option<&str>) -> Result<Self, DataError> {
        Self::open_as(folder, prefix, prefix.is_some_and(emnist::is_prefix))
    }

    /// The same, where `emnist` says whether images are stored transposed and labels may begin
    /// at 1.
    ///
    /// # Errors
    /// As [`Data::open`].
    pub fn open_as(folder: &Path, prefix: Option<&str>, emnist: bool) -> Result<Self, DataError> {
        let data = Self::read(&folder.display().to_string(), emnist, |part| {
            let path = find(folder, prefix, part)?;
            Ok(Source {
                name: path.display().to_string(),
                idx: Idx::open(&path)?,
                md5: None,
            })
        })?;
        let normalisation = Normalisation::of(data.train.images());
        let mut data = data.normalised_by(normalisation);
        let classes = data.train.classes();
        if let Some(names) = read_class_names(&folder.join(class_names::FILE), classes)? {
            data.class_names = names;
        } else if let Some(known) = class_names::known(folder, prefix, &data.files[0].md5, classes)
        {
            data.name = known.name.to_owned();
            data.class_names = known.classes;
        }
        Ok(data)
    }

    /// Reads the four files from wherever `source` finds them, the training images beside the
    /// rest. Not yet normalised: by mean 0 and deviation 1.
    pub(super) fn read(
        name: &str,
        emnist: bool,
        source: impl Fn(Part) -> Result<Source, DataError> + Sync,
    ) -> Result<Self, DataError> {
        let read = |part| {
            let Source { name, idx, md5 } = source(part)?;
            let md5 = match md5 {
                Some(md5) => md5.to_owned(),
                // What `write` writes is what was in the file.
                None => digest::md5(|to| idx.write(&name, to))?,
            };
            Ok::<_, DataError>((SourceFile { name, md5 }, idx))
        };
        let train = || {
            let (file, idx) = read(Part::TrainImages)?;
            Ok::<_, DataError>((to_images(&file, idx)?, file))
        };
        let rest = || {
            let (train_labels, idx) = read(Part::TrainLabels)?;
            let train = to_labels(&train_labels, idx)?;
            let (test_images, idx) = read(Part::TestImages)?;
            let images = to_images(&test_images, idx)?;
            let (test_labels, idx) = read(Part::TestLabels)?;
            let test = to_labels(&test_labels, idx)?;
            let files = [train_labels, test_images, test_labels];
            Ok::<_, DataError>((train, images, test, files))
        };
        let (train_images, rest) = thread::scope(|scope| {
            // Where no thread is to be had, one after the other.
            match thread::Builder::new().spawn_scoped(scope, train) {
                Ok(thread) => {
                    let rest = rest();
                    let train = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
                    (train, rest)
                }
                Err(_) => (train(), rest()),
            }
        });
        // The training images' error comes first, whichever thread was first.
        let (images, train_images) = train_images?;
        let (mut labels, test, mut test_labels, [train_labels, test_images, test_file]) = rest?;
        // EMNIST's letters are 1 to 26.
        let first = match labels.iter().min() {
            Some(1) if emnist => 1,
            _ => 0,
        };

        if test.shape() != images.shape() {
            let fault = DataFault::Size {
                test: test.shape(),
                train: images.shape(),
            };
            return Err(unsuited(&test_images, 4, fault));
        }
        let channels = images.shape()[0];
        let last = labels.iter().copied().max().unwrap_or(0);
        let classes = usize::from(last - first) + 1;
        if let Some(n) = test_labels.iter().position(|l| !(first..=last).contains(l)) {
            let label = test_labels[n];
            let fault = DataFault::Label { label, first, last };
            return Err(unsuited(&test_file, 8 + n as u64, fault));
        }
        let all = labels.iter_mut().chain(&mut test_labels);
        all.for_each(|label| *label -= first);
        let [images, test] = [images, test].map(|images| match emnist {
            true => emnist::upright(&images),
            false => images,
        });
        Ok(Self {
            name: name.to_owned(),
            train: pair(images, labels, classes, &train_labels)?,
            test: pair(test, test_labels, classes, &test_file)?,
            normalisation: Normalisation::none(channels),
            class_names: class_names::numbers(classes),
            emnist: emnist.then_some(Emnist { shifted: first > 0 }),
            files: vec![train_images, train_labels, test_images, test_file],
        })
    }

    /// The same data, normalised otherwise.
    pub fn normalised_by(self, normalisation: Normalisation) -> Self {
        Self {
            normalisation,
            ..self
        }
    }
}

fn unsuited(file: &SourceFile, offset: u64, fault: DataFault) -> DataError {
    DataError::Unsuited {
        file: file.name.clone(),
        offset,
        fault,
    }
}

/// The path of one of the four files.
fn find(folder: &Path, prefix: Option<&str>, part: Part) -> Result<PathBuf, DataError> {
    let prefix = prefix
        .map(|prefix| format!("{prefix}-"))
        .unwrap_or_default();
    for folder in FOLDERS.map(|below| folder.join(below)) {
        for name in part.names() {
            for ending in ["", ".gz"] {
                let path = folder.join(format!("{prefix}{name}{ending}"));
                if path.is_file() {
                    return Ok(path);
                }
            }
        }
    }
    Err(DataError::Missing {
        folder: folder.to_owned(),
        name: format!("{prefix}{}", part.names()[0]),
        prefixes: prefixes(folder),
    })
}

/// Where files may be below a folder.
const FOLDERS: [&str; 3] = ["", "raw", "MNIST/raw"];

/// The prefixes of the files of training images that are there, sorted.
fn prefixes(folder: &Path) -> Vec<String> {
    let entries = FOLDERS.map(|below| fs::read_dir(folder.join(below)));
    let names = entries.into_iter().flatten().flatten().flatten();
    let mut prefixes: Vec<String> = names
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let name = name.strip_suffix(".gz").unwrap_or(&name);
            let prefix = name.strip_suffix(Part::TrainImages.names()[0])?;
            Some(prefix.strip_suffix('-')?.to_owned())
        })
        .collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes
}

/// What to do where files have prefixes.
fn others(prefixes: &[String]) -> String {
    match prefixes {
        [] => String::new(),
        prefixes => format!("; there are files with the prefix {}", prefixes.join(", ")),
    }
}

/// The names in a file of classes, if there is one.
fn read_class_names(path: &Path, classes: usize) -> Result<Option<Vec<String>>, DataError> {
    let error = |fault| DataError::ClassNames {
        path: path.to_owned(),
        fault,
    };
    let text = match read_at_most(path, class_names::MAX_BYTES) {
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(error)?,
    };
    let text = String::from_utf8(text).ok();
    match text.and_then(|text| class_names::parse(&text, classes)) {
        Some(names) => Ok(Some(names)),
        None => {
            let message = format!("the names of {classes} classes are needed, a line each");
            Err(error(io::Error::new(io::ErrorKind::InvalidData, message)))
        }
    }
}

/// Images from their file: u8, of rank 3 (N, H, W) or 4 (N, C, H, W), no dimension 0.
fn to_images(file: &SourceFile, idx: Idx) -> Result<Images, DataError> {
    let code = idx.elements.code();
    let Elements::U8(bytes) = idx.elements else {
        return Err(unsuited(
            file,
            2,
            DataFault::ElementType {
                what: "images",
                code,
            },
        ));
    };
    let shape = match idx.sizes[..] {
        [_, height, width] => [1, height, width],
        [_, channels, height, width] => [channels, height, width],
        _ => {
            let fault = DataFault::Rank {
                what: "images have 3 dimensions (N, H, W) or 4 (N, C, H, W)",
                found: idx.sizes.len(),
            };
            return Err(unsuited(file, 3, fault));
        }
    };
    no_zero(file, &idx.sizes)?;
    let pixels = shape
        .iter()
        .try_fold(1_usize, |product, &size| product.checked_mul(size));
    if pixels.is_none_or(|pixels| pixels > MAX_PIXELS) {
        return Err(unsuited(file, 4, DataFault::TooLarge(shape)));
    }
    Ok(Images::new(shape, bytes).expect("a parsed file has as many elements as its sizes say"))
}

/// Labels from their file: u8, of rank 1, at least one.
fn to_labels(file: &SourceFile, idx: Idx) -> Result<Vec<u8>, DataError> {
    let code = idx.elements.code();
    let Elements::U8(labels) = idx.elements else {
        return Err(unsuited(
            file,
            2,
            DataFault::ElementType {
                what: "labels",
                code,
            },
        ));
    };
    if idx.sizes.len() != 1 {
        let fault = DataFault::Rank {
            what: "labels have 1 dimension",
            found: idx.sizes.len(),
        };
        return Err(unsuited(file, 3, fault));
    }
    no_zero(file, &idx.sizes)?;
    Ok(labels.into_owned())
}

fn no_zero(file: &SourceFile, sizes: &[usize]) -> Result<(), DataError> {
    match sizes.iter().position(|&size| size == 0) {
        Some(dimension) => Err(unsuited(
            file,
            4 + 4 * dimension as u64,
            DataFault::Empty(dimension),
        )),
        None => Ok(()),
    }
}

/// A dataset of images and the labels of their file, which an error names.
fn pair(
    images: Images,
    labels: Vec<u8>,
    classes: usize,
    file: &SourceFile,
) -> Result<Dataset, DataError> {
    if labels.len() != images.len() {
        let fault = DataFault::Count {
            labels: labels.len(),
            images: images.len(),
        };
        return Err(unsuited(file, 4, fault));
    }
    Ok(Dataset {
        images,
        labels,
        classes,
    })
}
