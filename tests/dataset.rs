//! Training sets: which files make one, which do not, and how their pixels become numbers.

use std::fs;
use std::io::Write;
use std::ops::Range;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use longhand::data::dataset::MAX_PIXELS;
use longhand::data::{
    Data, DataError, DataFault, Dataset, Elements, Emnist, Idx, IdxFault, Images, Normalisation,
};
use longhand::digest;
use tempfile::TempDir;

const TRAIN_IMAGES: &str = "train-images-idx3-ubyte";
const TRAIN_LABELS: &str = "train-labels-idx1-ubyte";
const TEST_IMAGES: &str = "t10k-images-idx3-ubyte";
const TEST_LABELS: &str = "t10k-labels-idx1-ubyte";

/// Bytes of `sizes`, all kinds of them.
fn u8s<const RANK: usize>(sizes: [usize; RANK]) -> Idx {
    let count: usize = sizes.iter().product();
    Idx {
        sizes: sizes.to_vec(),
        elements: Elements::U8((0..count).map(|i| (i * i % 251) as u8).collect()),
    }
}

fn labels(labels: &[u8]) -> Idx {
    Idx {
        sizes: vec![labels.len()],
        elements: Elements::U8(labels.to_vec().into()),
    }
}

fn bytes(idx: &Idx) -> &[u8] {
    match &idx.elements {
        Elements::U8(bytes) => bytes,
        other => panic!("{other:?} are not u8"),
    }
}

/// A training set of four images of 2 x 3 in three classes, and two test images.
fn four_files() -> [(&'static str, Idx); 4] {
    [
        (TRAIN_IMAGES, u8s([4, 2, 3])),
        (TRAIN_LABELS, labels(&[2, 0, 1, 0])),
        (TEST_IMAGES, u8s([2, 2, 3])),
        (TEST_LABELS, labels(&[1, 2])),
    ]
}

/// Writes a file below `folder`, gzipped if its name says so.
fn put(folder: &Path, name: &str, idx: &Idx) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut contents = Vec::new();
    idx.write(name, &mut contents).unwrap();
    if name.ends_with(".gz") {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&contents).unwrap();
        contents = encoder.finish().unwrap();
    }
    fs::write(path, contents).unwrap();
}

/// A folder of the four files, each under the name that `name` makes of its own.
fn folder(name: impl Fn(&str) -> String) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (file, idx) in four_files() {
        put(folder.path(), &name(file), &idx);
    }
    folder
}

fn plain(name: &str) -> String {
    name.to_owned()
}

/// Opens a folder of four files of which one, under its usual name, is `idx`.
fn open_with(name: &str, idx: &Idx) -> Result<Data, DataError> {
    let folder = folder(plain);
    put(folder.path(), name, idx);
    Data::open(folder.path(), None)
}

fn assert_is_four_files(data: &Data) {
    let [
        (_, train_images),
        (_, train_labels),
        (_, test_images),
        (_, test_labels),
    ] = four_files();
    for (set, images, labels) in [
        (&data.train, train_images, train_labels),
        (&data.test, test_images, test_labels),
    ] {
        assert_eq!(set.images().shape(), [1, 2, 3]);
        assert_eq!(set.images().bytes(), bytes(&images));
        assert_eq!(set.labels(), bytes(&labels));
        assert_eq!(set.classes(), 3);
    }
}

/// The same as [`assert_is_four_files`], each image with its rows and columns exchanged.
fn assert_is_four_files_upright(data: &Data) {
    let transposed = |idx: &Idx| -> Vec<u8> {
        let images = bytes(idx).chunks(6);
        images
            .flat_map(|x| [x[0], x[3], x[1], x[4], x[2], x[5]])
            .collect()
    };
    let [
        (_, train_images),
        (_, train_labels),
        (_, test_images),
        (_, test_labels),
    ] = four_files();
    for (set, images, labels) in [
        (&data.train, train_images, train_labels),
        (&data.test, test_images, test_labels),
    ] {
        assert_eq!(set.images().shape(), [1, 3, 2]);
        assert_eq!(set.images().bytes(), transposed(&images));
        assert_eq!(set.labels(), bytes(&labels));
        assert_eq!(set.classes(), 3);
    }
}

#[test]
fn the_four_files_are_found_plain_and_gzipped_in_the_folder_and_in_mnist_raw() {
    for place in ["", "raw/", "MNIST/raw/"] {
        for ending in ["", ".gz"] {
            let folder = folder(|name| format!("{place}{name}{ending}"));
            let data = Data::open(folder.path(), None).unwrap();
            assert_is_four_files(&data);
            assert_eq!(data.name, folder.path().display().to_string());
            let names: Vec<&str> = data.files.iter().map(|file| &*file.name).collect();
            let expected = four_files().map(|(name, _)| {
                let path = folder.path().join(format!("{place}{name}{ending}"));
                path.display().to_string()
            });
            assert_eq!(names, expected);
        }
    }
}

#[test]
fn a_files_md5_is_that_of_its_contents_gzipped_or_not() {
    for ending in ["", ".gz"] {
        let folder = folder(|name| format!("{name}{ending}"));
        let data = Data::open(folder.path(), None).unwrap();
        for (file, (name, idx)) in data.files.iter().zip(four_files()) {
            let mut contents = Vec::new();
            idx.write(name, &mut contents).unwrap();
            let md5 = digest::md5(|to| to.write_all(&contents)).unwrap();
            assert_eq!(file.md5, md5, "{}", file.name);
        }
    }
}

#[test]
fn a_prefix_chooses_among_several_sets_in_one_folder() {
    let folder = folder(|name| format!("pangrams-{name}.gz"));
    for (name, idx) in four_files() {
        put(folder.path(), &format!("raw/other-{name}"), &idx);
    }
    let pangrams = Data::open(folder.path(), Some("pangrams")).unwrap();
    assert_is_four_files(&pangrams);
    for prefix in [None, Some("emnist-digits")] {
        let error = Data::open(folder.path(), prefix).unwrap_err();
        let message = error.to_string();
        let said = "there are files with the prefix other, pangrams";
        assert!(message.ends_with(said), "{message}");
    }
}

#[test]
fn the_test_set_may_be_called_test_as_emnists_is() {
    let folder = folder(|name| name.replace("t10k", "test"));
    let data = Data::open(folder.path(), None).unwrap();
    assert_is_four_files(&data);
    assert!(data.files[2].name.ends_with("test-images-idx3-ubyte"));
    assert!(data.files[3].name.ends_with("test-labels-idx1-ubyte"));
}

#[test]
fn emnists_images_are_turned_upright() {
    for prefix in ["emnist-letters", "emnist-digits", "EMNIST-balanced"] {
        let folder = folder(|name| format!("{prefix}-{}.gz", name.replace("t10k", "test")));
        let data = Data::open(folder.path(), Some(prefix)).unwrap();
        assert_is_four_files_upright(&data);
        assert_eq!(data.emnist, Some(Emnist { shifted: false }));
    }
    // Without the prefix one has to say so.
    let folder = folder(plain);
    let data = Data::open_as(folder.path(), None, true).unwrap();
    assert_is_four_files_upright(&data);
    assert_eq!(Data::open(folder.path(), None).unwrap().emnist, None);
}

#[test]
fn emnists_labels_from_1_are_counted_from_0() {
    let prefixed = |name: &str| format!("emnist-letters-{name}");
    let folder = folder(prefixed);
    put(
        folder.path(),
        &prefixed(TRAIN_LABELS),
        &labels(&[3, 1, 2, 1]),
    );
    put(folder.path(), &prefixed(TEST_LABELS), &labels(&[2, 3]));
    let data = Data::open(folder.path(), Some("emnist-letters")).unwrap();
    assert_is_four_files_upright(&data);
    assert_eq!(data.emnist, Some(Emnist { shifted: true }));
    // What the file holds is what it is known by.
    let mut contents = Vec::new();
    let file = labels(&[3, 1, 2, 1]);
    file.write("labels", &mut contents).unwrap();
    let md5 = digest::md5(|to| to.write_all(&contents)).unwrap();
    assert_eq!(data.files[1].md5, md5);

    put(folder.path(), &prefixed(TEST_LABELS), &labels(&[2, 0]));
    let error = Data::open(folder.path(), Some("emnist-letters")).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("byte 9: label 0, but the training labels are 1 to 3"),
        "{message}"
    );
}

#[test]
fn classes_have_names_where_they_are_known() {
    let all = |classes: u8| labels(&(0..classes).collect::<Vec<u8>>());
    let names = |below: &str, prefix: Option<&str>, classes: u8| {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join(below);
        let n = usize::from(classes);
        for (name, idx) in [
            (TRAIN_IMAGES, u8s([n, 2, 3])),
            (TRAIN_LABELS, all(classes)),
            (TEST_IMAGES, u8s([n, 2, 3])),
            (TEST_LABELS, all(classes)),
        ] {
            let prefix = prefix
                .map(|prefix| format!("{prefix}-"))
                .unwrap_or_default();
            put(&folder, &format!("raw/{prefix}{name}.gz"), &idx);
        }
        Data::open(&folder, prefix).unwrap().class_names
    };
    let fashion = names("FashionMNIST", None, 10);
    assert_eq!((&*fashion[0], &*fashion[9]), ("T-shirt/top", "Ankle boot"));
    assert_eq!(names("KMNIST", None, 10)[1], "き");
    let letters = names("x", Some("emnist-letters"), 26);
    assert_eq!((&*letters[0], &*letters[25]), ("A", "Z"));
    let balanced = names("x", Some("emnist-balanced"), 47);
    assert_eq!(
        [9, 10, 35, 36, 46].map(|n| &*balanced[n]),
        ["9", "A", "Z", "a", "t"]
    );
    let by_class = names("x", Some("emnist-byclass"), 62);
    assert_eq!([36, 61].map(|n| &*by_class[n]), ["a", "z"]);
    assert_eq!(names("kmnist/raw", None, 10)[0], "お");
    // Not by any part of a path.
    assert_eq!(names("fashion/mine", None, 10)[0], "0");
    // Of another number of classes it is something else.
    assert_eq!(names("FashionMNIST", None, 3), ["0", "1", "2"]);
    assert_eq!(names("x", None, 2), ["0", "1"]);
}

#[test]
fn a_file_may_name_the_classes() {
    let folder = folder(plain);
    let file = folder.path().join("classes.txt");
    fs::write(&file, "cat\r\n dog \nお\n").unwrap();
    let data = Data::open(folder.path(), None).unwrap();
    assert_eq!(data.class_names, ["cat", "dog", "お"]);
    for wrong in [
        &b"cat\ndog\n"[..],
        b"cat\n\ndog\n",
        b"cat\ndog\n\xff\n",
        &[b'a'; 70_000],
    ] {
        fs::write(&file, wrong).unwrap();
        let error = Data::open(folder.path(), None).unwrap_err();
        assert!(error.to_string().contains("classes.txt: "), "{error}");
    }
}

#[test]
fn images_of_rank_4_have_their_channels_second() {
    let folder = folder(plain);
    let (train, test) = (u8s([4, 3, 2, 5]), u8s([2, 3, 2, 5]));
    put(folder.path(), TRAIN_IMAGES, &train);
    put(folder.path(), TEST_IMAGES, &test);
    let data = Data::open(folder.path(), None).unwrap();
    assert_eq!(data.train.images().shape(), [3, 2, 5]);
    assert_eq!(data.train.len(), 4);
    assert_eq!(data.train.images().image(1), &bytes(&train)[30..60]);
    assert_eq!(data.test.images().shape(), [3, 2, 5]);
    assert_eq!(data.test.images().bytes(), bytes(&test));
    assert_eq!(data.normalisation.channels(), 3);
}

#[test]
fn the_largest_label_of_training_gives_the_classes() {
    let data = open_with(TRAIN_LABELS, &labels(&[0, 255, 3, 3])).unwrap();
    assert_eq!(data.train.classes(), 256);
    assert_eq!(data.test.classes(), 256);
}

#[test]
fn images_of_just_the_most_pixels_are_read() {
    let folder = folder(plain);
    let height = 1 << 12;
    let most = u8s([1, height, MAX_PIXELS / height]);
    put(folder.path(), TRAIN_IMAGES, &most);
    put(folder.path(), TRAIN_LABELS, &labels(&[0]));
    put(folder.path(), TEST_IMAGES, &most);
    put(folder.path(), TEST_LABELS, &labels(&[0]));
    let data = Data::open(folder.path(), None).unwrap();
    assert_eq!(data.train.images().image(0).len(), MAX_PIXELS);
}

#[test]
fn each_file_that_does_not_suit_has_its_fault_and_its_byte() {
    let rank_of_images = "images have 3 dimensions (N, H, W) or 4 (N, C, H, W)";
    let rank_of_labels = "labels have 1 dimension";
    let of_type = |sizes: &[usize], elements| Idx {
        sizes: sizes.to_vec(),
        elements,
    };
    let wide = MAX_PIXELS / 2 + 1;
    let cases = [
        (
            TRAIN_IMAGES,
            of_type(&[4, 2, 3], Elements::F32(vec![0.0; 24])),
            2,
            DataFault::ElementType {
                what: "images",
                code: 0x0D,
            },
        ),
        (
            TEST_IMAGES,
            of_type(&[2, 2, 3], Elements::I8(vec![0; 12])),
            2,
            DataFault::ElementType {
                what: "images",
                code: 0x09,
            },
        ),
        (
            TRAIN_LABELS,
            of_type(&[4], Elements::I32(vec![0; 4])),
            2,
            DataFault::ElementType {
                what: "labels",
                code: 0x0C,
            },
        ),
        (
            TEST_LABELS,
            of_type(&[2], Elements::I16(vec![0; 2])),
            2,
            DataFault::ElementType {
                what: "labels",
                code: 0x0B,
            },
        ),
        (
            TRAIN_IMAGES,
            u8s([4, 6]),
            3,
            DataFault::Rank {
                what: rank_of_images,
                found: 2,
            },
        ),
        (
            TEST_IMAGES,
            u8s([2, 1, 1, 2, 3]),
            3,
            DataFault::Rank {
                what: rank_of_images,
                found: 5,
            },
        ),
        (
            TRAIN_LABELS,
            u8s([4, 1]),
            3,
            DataFault::Rank {
                what: rank_of_labels,
                found: 2,
            },
        ),
        (
            TEST_LABELS,
            u8s([2, 1, 1]),
            3,
            DataFault::Rank {
                what: rank_of_labels,
                found: 3,
            },
        ),
        (TRAIN_IMAGES, u8s([0, 2, 3]), 4, DataFault::Empty(0)),
        (TRAIN_IMAGES, u8s([4, 0, 3]), 8, DataFault::Empty(1)),
        (TEST_IMAGES, u8s([2, 2, 0]), 12, DataFault::Empty(2)),
        (TEST_IMAGES, u8s([2, 1, 2, 0]), 16, DataFault::Empty(3)),
        (TRAIN_LABELS, u8s([0]), 4, DataFault::Empty(0)),
        (TEST_LABELS, u8s([0]), 4, DataFault::Empty(0)),
        (
            TRAIN_IMAGES,
            u8s([1, 1, MAX_PIXELS + 1]),
            4,
            DataFault::TooLarge([1, 1, MAX_PIXELS + 1]),
        ),
        (
            TEST_IMAGES,
            u8s([1, 2, 1, wide]),
            4,
            DataFault::TooLarge([2, 1, wide]),
        ),
        (
            TRAIN_LABELS,
            labels(&[2, 0, 1]),
            4,
            DataFault::Count {
                labels: 3,
                images: 4,
            },
        ),
        (
            TEST_LABELS,
            labels(&[2, 0, 1]),
            4,
            DataFault::Count {
                labels: 3,
                images: 2,
            },
        ),
        (
            TEST_IMAGES,
            u8s([2, 3, 2]),
            4,
            DataFault::Size {
                test: [1, 3, 2],
                train: [1, 2, 3],
            },
        ),
        (
            TEST_IMAGES,
            u8s([2, 2, 2, 3]),
            4,
            DataFault::Size {
                test: [2, 2, 3],
                train: [1, 2, 3],
            },
        ),
        (
            TEST_LABELS,
            labels(&[2, 3]),
            9,
            DataFault::Label {
                label: 3,
                first: 0,
                last: 2,
            },
        ),
    ];
    for (name, idx, at, expected) in cases {
        let error = open_with(name, &idx).unwrap_err();
        let message = error.to_string();
        let DataError::Unsuited {
            file,
            offset,
            fault,
        } = error
        else {
            panic!("{expected:?}, but: {message}");
        };
        assert_eq!(fault, expected, "{name}");
        assert_eq!(offset, at, "{message}");
        assert!(file.ends_with(name), "{message}");
        assert_eq!(message, format!("{file}: byte {at}: {fault}"));
    }
}

#[test]
fn a_damaged_file_is_an_error_that_names_it_and_the_byte() {
    for (name, _) in four_files() {
        let folder = folder(plain);
        let path = folder.path().join(name);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let DataError::Idx(error) = Data::open(folder.path(), None).unwrap_err() else {
            panic!("{name}: not the file's own fault");
        };
        assert!(matches!(error.fault, IdxFault::TooShort { .. }), "{error}");
        assert_eq!(error.file, path.display().to_string());
        assert_eq!(error.offset, whole.len() as u64 - 1);
    }
}

#[test]
fn of_several_damaged_files_the_training_images_are_named() {
    let folder = folder(plain);
    for (name, _) in four_files() {
        fs::write(folder.path().join(name), b"").unwrap();
    }
    let DataError::Idx(error) = Data::open(folder.path(), None).unwrap_err() else {
        panic!("not a file's own fault");
    };
    assert!(error.file.ends_with(TRAIN_IMAGES), "{error}");
}

#[test]
fn a_missing_file_is_an_error_that_names_the_folder_and_the_file() {
    for prefix in [None, Some("emnist-letters")] {
        let full = |name: &str| match prefix {
            Some(prefix) => format!("{prefix}-{name}"),
            None => name.to_owned(),
        };
        for (missing, _) in four_files() {
            let four = folder(full);
            fs::remove_file(four.path().join(full(missing))).unwrap();
            let error = Data::open(four.path(), prefix).unwrap_err();
            let message = error.to_string();
            let DataError::Missing { folder, name, .. } = error else {
                panic!("{missing}: {message}");
            };
            assert_eq!(folder, four.path());
            assert_eq!(name, full(missing));
            assert!(message.contains(&folder.display().to_string()), "{message}");
            assert!(message.contains(&name), "{message}");
        }
    }
}

/// The mean and deviation of one channel's pixels, scaled to `[0, 1]`, by their definitions.
fn mean_and_deviation(images: &Images, channel: usize) -> (f64, f64) {
    let [_, height, width] = images.shape();
    let area = height * width;
    let pixels: Vec<f64> = (0..images.len())
        .flat_map(|n| &images.image(n)[channel * area..][..area])
        .map(|&byte| f64::from(byte) / 255.0)
        .collect();
    let count = pixels.len() as f64;
    let mean = pixels.iter().sum::<f64>() / count;
    let squares: f64 = pixels.iter().map(|pixel| (pixel - mean).powi(2)).sum();
    (mean, (squares / count).sqrt())
}

fn assert_close(found: f64, expected: f64, tolerance: f64) {
    assert!(
        (found - expected).abs() <= tolerance,
        "{found} is not {expected} within {tolerance}"
    );
}

#[test]
fn the_normalisation_is_the_mean_and_deviation_of_each_channel_of_the_training_images() {
    // Channels that differ, and test images that would give other figures.
    let mut train = u8s([4, 3, 5, 7]);
    if let Elements::U8(bytes) = &mut train.elements {
        for (i, byte) in bytes.to_mut().iter_mut().enumerate() {
            *byte /= 1 + (i / 35 % 3) as u8;
        }
    }
    let folder = folder(plain);
    put(folder.path(), TRAIN_IMAGES, &train);
    put(folder.path(), TEST_IMAGES, &u8s([2, 3, 5, 7]));
    let data = Data::open(folder.path(), None).unwrap();
    let normalisation = &data.normalisation;
    assert_eq!(normalisation.channels(), 3);
    // They are rounded to four decimals.
    let tolerance = 0.5001e-4;
    for channel in 0..3 {
        let (mean, deviation) = mean_and_deviation(data.train.images(), channel);
        assert_close(normalisation.mean()[channel].into(), mean, tolerance);
        assert_close(
            normalisation.deviation()[channel].into(),
            deviation,
            tolerance,
        );
    }
    for figure in normalisation.mean().iter().chain(normalisation.deviation()) {
        let decimals = format!("{figure:.4}");
        assert_eq!(decimals.parse::<f32>().unwrap(), *figure);
    }
    assert_eq!(Normalisation::of(data.train.images()), *normalisation);
}

#[test]
fn a_channel_that_never_changes_is_only_centred() {
    let images = Images::new([2, 1, 2], vec![51, 51, 0, 255]).unwrap();
    let normalisation = Normalisation::of(&images);
    assert_eq!(normalisation.mean(), [0.2, 0.5]);
    assert_eq!(normalisation.deviation(), [1.0, 0.5]);
}

#[test]
fn without_images_pixels_are_only_scaled() {
    let images = Images::new([2, 1, 2], vec![]).unwrap();
    assert_eq!(Normalisation::of(&images), Normalisation::none(2));
}

#[test]
fn data_can_be_normalised_otherwise() {
    let folder = folder(plain);
    let data = Data::open(folder.path(), None).unwrap();
    assert_ne!(data.normalisation, Normalisation::mnist());
    let data = data.normalised_by(Normalisation::mnist());
    assert_eq!(data.normalisation, Normalisation::mnist());
    assert_is_four_files(&data);
}

#[test]
fn apply_scales_subtracts_the_mean_and_divides_by_the_deviation() {
    let (mean, deviation) = (vec![0.1307_f32, 0.5], vec![0.3081_f32, 0.25]);
    let normalisation = Normalisation::new(mean.clone(), deviation.clone()).unwrap();
    let image: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    let mut singles = vec![f32::NAN; 512];
    let mut doubles = vec![f64::NAN; 512];
    normalisation.apply(&image, &mut singles);
    normalisation.apply(&image, &mut doubles);
    for (place, &byte) in image.iter().enumerate() {
        let (mean, deviation) = (mean[place / 256], deviation[place / 256]);
        let single = (f32::from(byte) / 255.0 - mean) / deviation;
        let double = (f64::from(byte) / 255.0 - f64::from(mean)) / f64::from(deviation);
        assert_eq!(singles[place], single, "byte {byte}");
        assert_eq!(doubles[place], double, "byte {byte}");
    }
}

#[test]
fn a_normalisation_is_finite_and_divides_by_more_than_zero() {
    let some = |mean: &[f32], deviation: &[f32]| {
        Normalisation::new(mean.to_vec(), deviation.to_vec()).is_some()
    };
    assert!(some(&[0.5], &[0.25]));
    assert!(some(&[-1.0, 2.0], &[f32::MIN_POSITIVE, 1.0]));
    assert!(!some(&[], &[]));
    assert!(!some(&[0.5], &[]));
    assert!(!some(&[0.5], &[1.0, 1.0]));
    assert!(!some(&[f32::NAN], &[1.0]));
    assert!(!some(&[f32::INFINITY], &[1.0]));
    for deviation in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        assert!(!some(&[0.5, 0.5], &[1.0, deviation]), "{deviation}");
    }
}

#[test]
fn images_are_whole_and_have_pixels() {
    let images = Images::new([2, 1, 3], Vec::from_iter(0..12)).unwrap();
    assert_eq!(images.len(), 2);
    assert_eq!(images.image(1), [6, 7, 8, 9, 10, 11]);
    assert!(!images.is_empty());
    assert!(Images::new([2, 1, 3], vec![]).unwrap().is_empty());
    assert!(Images::new([2, 1, 3], vec![0; 11]).is_none());
    assert!(Images::new([2, 1, 3], vec![0; 13]).is_none());
    for shape in [[0, 1, 3], [2, 0, 3], [2, 1, 0]] {
        assert!(Images::new(shape, vec![]).is_none(), "{shape:?}");
    }
    assert!(Images::new([usize::MAX, 2, 1], vec![]).is_none());
}

#[test]
fn a_dataset_has_a_label_inside_the_classes_for_each_image() {
    let dataset = |count: usize, labels: &[u8], classes| {
        let images = Images::new([1, 1, 2], vec![0; 2 * count]).unwrap();
        Dataset::new(images, labels.to_vec(), classes)
    };
    let three = dataset(3, &[0, 1, 1], 2).unwrap();
    assert_eq!((three.len(), three.classes()), (3, 2));
    assert!(!three.is_empty());
    assert!(dataset(0, &[], 2).is_none());
    assert!(dataset(3, &[0, 1], 2).is_none());
    assert!(dataset(3, &[0, 1, 1, 0], 2).is_none());
    assert!(dataset(3, &[0, 1, 2], 2).is_none());
    assert!(dataset(1, &[0], 0).is_none());
}

#[test]
fn a_slice_holds_the_examples_of_its_range() {
    let images = Images::new([1, 1, 2], Vec::from_iter(0..10)).unwrap();
    let whole = Dataset::new(images, vec![4, 3, 2, 1, 0], 5).unwrap();
    let slice = whole.slice(1..4).unwrap();
    assert_eq!(slice.images().bytes(), [2, 3, 4, 5, 6, 7]);
    assert_eq!(slice.images().shape(), [1, 1, 2]);
    assert_eq!(slice.labels(), [3, 2, 1]);
    assert_eq!(slice.classes(), 5);
    assert_eq!(whole.slice(0..5).unwrap(), whole);

    let backwards = Range { start: 3, end: 1 };
    for range in [0..0, 5..5, 4..6, 6..7, 0..usize::MAX, backwards] {
        assert!(whole.slice(range.clone()).is_none(), "{range:?}");
    }
}

#[cfg(feature = "mnist")]
mod mnist {
    use super::*;
    use longhand::data::mnist;

    const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/mnist");
    const README: &str = include_str!("../data/mnist/README.md");

    #[test]
    fn mnist_is_70_000_digits_of_which_10_000_are_for_testing() {
        let data = mnist().unwrap();
        assert_eq!(data.name, "MNIST");
        assert_eq!(data.train.len(), 60_000);
        assert_eq!(data.test.len(), 10_000);
        for set in [&data.train, &data.test] {
            assert_eq!(set.images().shape(), [1, 28, 28]);
            assert_eq!(set.classes(), 10);
        }
        // The first digits, as everybody knows them, and the number of zeros.
        assert_eq!(data.train.labels()[..5], [5, 0, 4, 1, 9]);
        assert_eq!(data.test.labels()[..5], [7, 2, 1, 0, 4]);
        let zeros = |set: &Dataset| set.labels().iter().filter(|&&label| label == 0).count();
        assert_eq!((zeros(&data.train), zeros(&data.test)), (5_923, 980));
    }

    #[test]
    fn mnists_md5s_are_those_of_its_files_and_the_published_ones() {
        let data = mnist().unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/mnist");
        let opened = Data::open(&folder, None).unwrap();
        let names = four_files().map(|(name, _)| name);
        assert_eq!(data.files.len(), names.len());
        for ((file, opened), name) in data.files.iter().zip(&opened.files).zip(names) {
            assert!(file.name.ends_with(name), "{}", file.name);
            assert_eq!(file.md5, opened.md5, "{name}");
            let published = README
                .lines()
                .find(|line| line.contains(&format!("`{name}.gz`")))
                .unwrap();
            let md5 = format!("`{}`", file.md5);
            assert!(published.contains(&md5), "{md5}: {published}");
        }
    }

    #[test]
    fn mnists_usual_normalisation_is_that_of_its_training_images() {
        let data = mnist().unwrap();
        assert_eq!(data.normalisation.mean(), [0.1307]);
        assert_eq!(data.normalisation.deviation(), [0.3081]);
        let (mean, deviation) = mean_and_deviation(data.train.images(), 0);
        assert_close(mean, 0.1307, 0.5e-4);
        assert_close(deviation, 0.3081, 0.5e-4);
    }

    #[test]
    fn mnist_from_its_folder_is_mnist_from_inside_the_program() {
        let inside = mnist().unwrap();
        let read = Data::open(Path::new(FOLDER), None).unwrap();
        // Not `assert_eq`, which would print 70,000 labels.
        assert!(read.train == inside.train);
        assert!(read.test == inside.test);
        assert_eq!(read.normalisation, Normalisation::mnist());
        let md5s = |data: &Data| -> Vec<String> {
            data.files.iter().map(|file| file.md5.clone()).collect()
        };
        assert_eq!(md5s(&read), md5s(&inside));
    }
}
