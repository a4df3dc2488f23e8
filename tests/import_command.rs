//! `longhand import`: a person's own pictures become a training set.

mod place;

use std::fs;

use image::{GrayImage, Luma, RgbImage};
use longhand::data::Data;
use place::{FILES, Place, names, pixels, stdout};

impl Place {
    /// Pictures of the classes of [`pixels`], so many each, in a folder a class.
    fn write_pictures<'a>(
        &self,
        folder: &str,
        classes: impl IntoIterator<Item = &'a str>,
        each: usize,
    ) {
        for (class, name) in classes.into_iter().enumerate() {
            let folder = self.path(folder).join(name);
            fs::create_dir_all(&folder).unwrap();
            for n in 0..each {
                let pixels = pixels(4 * n + class);
                let picture = GrayImage::from_fn(8, 8, |x, y| Luma([pixels[(8 * y + x) as usize]]));
                picture.save(folder.join(format!("{n}.png"))).unwrap();
            }
        }
    }
}

const CLASSES: [&str; 4] = ["Ant", "Bee", "Cat", "Dog"];

#[test]
fn a_person_trains_on_pictures_of_their_own() {
    let place = Place::new();
    place.write_pictures("mine", CLASSES, 40);
    fs::write(place.path("mine/Ant/.hidden"), "no picture").unwrap();
    let assert = place.succeeds("import mine --out set --size 8");
    let said = stdout(&assert);
    assert!(said.contains("    1        32        8  Bee\n"), "{said}");
    assert!(said.ends_with("set: train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte, classes.txt\n"));
    let train = "train --data set --network @net --epochs 20 --lr 0.1 --out run";
    place.succeeds(train);
    let assert = place.succeeds("predict mine/Cat/7.png --model run/model.safetensors");
    let said = stdout(&assert);
    assert!(said.starts_with("mine/Cat/7.png: 2 (Cat)\n"), "{said}");
    assert!(said.contains(" Cat\n"), "{said}");
    let json =
        stdout(&place.succeeds("predict mine/Dog/7.png --json --model run/model.safetensors"));
    assert!(json.contains(r#""class":"Dog","digit":3"#), "{json}");
    let table = stdout(&place.succeeds("test --data set --model run/model.safetensors"));
    assert!(
        table.contains("    0        8        8   100.00 %  Ant\n"),
        "{table}"
    );
    let shown = stdout(&place.succeeds("show --data set --class 1 --count 1"));
    assert!(shown.contains(": Bee"), "{shown}");
    let shown = stdout(&place.succeeds("show --data set --class 1 --count 1 --json"));
    assert!(shown.contains(r#""class":"Bee""#), "{shown}");
}

#[test]
fn every_picture_is_there_once_as_it_is() {
    let place = Place::new();
    place.write_pictures("mine", ["10", "9", "2", "1"], 5);
    place.succeeds("import mine --out set --size 8");
    let data = Data::open(&place.path("set"), None).unwrap();
    // Numbers in their order, not in the alphabet's.
    assert_eq!(data.class_names, ["1", "2", "9", "10"]);
    assert_eq!((data.train.len(), data.test.len()), (16, 4));
    let mut found = Vec::new();
    for set in [&data.train, &data.test] {
        for n in 0..set.len() {
            // The folders were in the other order.
            let class = 3 - usize::from(set.labels()[n]);
            found.push((class, set.images().image(n).to_vec()));
        }
    }
    found.sort();
    let mut expected: Vec<_> = (0..20).map(|n| (n % 4, pixels(n))).collect();
    expected.sort();
    assert!(found == expected);

    // In no order, so that a part held out is of all classes.
    assert!(!data.train.labels().is_sorted());

    place.succeeds("import mine --out half --size 8 --test 0.5");
    let half = Data::open(&place.path("half"), None).unwrap();
    // Five of each class: three to one set, two to the other.
    assert_eq!(half.train.len() + half.test.len(), 20);
    assert!(half.test.len() >= 8, "{}", half.test.len());
    place.succeeds("import mine --out again --size 8");
    place.succeeds("import mine --out other --size 8 --seed 1");
    let read = |set: &str| FILES.map(|name| fs::read(place.path(set).join(name)).unwrap());
    assert!(read("set") == read("again"));
    assert!(read("set") != read("other"));
}

#[test]
fn a_split_by_hand_is_kept_and_colours_are() {
    let place = Place::new();
    for (part, class, red) in [("train", "a", 200), ("train", "b", 100), ("test", "b", 50)] {
        let folder = place.path("mine").join(part).join(class);
        fs::create_dir_all(&folder).unwrap();
        let picture = RgbImage::from_pixel(4, 6, image::Rgb([red, 1, 2]));
        picture.save(folder.join("x.png")).unwrap();
    }
    place.succeeds("import mine --out set --size 6x4 --rgb");
    let data = Data::open(&place.path("set"), None).unwrap();
    assert_eq!(data.train.images().shape(), [3, 6, 4]);
    assert_eq!((data.train.len(), data.test.labels()), (2, &[1][..]));
    let red: Vec<u8> = [vec![50; 24], vec![1; 24], vec![2; 24]].concat();
    assert_eq!(data.test.images().bytes(), red);
}

#[test]
fn what_does_not_suit_is_named_and_nothing_is_written() {
    let place = Place::new();
    place.write_pictures("good", CLASSES, 3);
    place.write_pictures("text", CLASSES, 3);
    fs::write(place.path("text/Cat/notes.txt"), "meow").unwrap();
    place.write_pictures("beside", CLASSES, 3);
    fs::write(place.path("beside/list.csv"), "a,b").unwrap();
    place.write_pictures("hollow", CLASSES, 3);
    fs::create_dir_all(place.path("hollow/Emu")).unwrap();
    place.write_pictures("single", CLASSES, 1);
    place.write_pictures("tested/train", CLASSES, 1);
    place.write_pictures("tested/test", ["Ant", "Bee", "Cat", "Eel"], 1);
    place.write_pictures("deep", CLASSES, 3);
    place.write_pictures("deep/Dog", CLASSES, 3);
    fs::create_dir_all(place.path("empty")).unwrap();
    for n in 0..257 {
        fs::create_dir_all(place.path("many").join(n.to_string())).unwrap();
    }
    let before = names(place.folder.path());
    for (folder, words) in [
        ("nowhere", "nowhere: "),
        ("empty", "empty: there is no folder in it"),
        ("text", "Cat/notes.txt: neither a PNG nor a JPEG picture"),
        ("beside", "list.csv: beside the folders"),
        ("hollow", "Emu: there is no picture in it"),
        ("single", "single: a test picture is needed"),
        (
            "tested",
            "Eel: a class that the training pictures do not have",
        ),
        ("deep", "Dog/Ant: "),
        ("many", "many: 257 classes"),
    ] {
        place.fails(1, &format!("import {folder} --out set"), &[words]);
        assert_eq!(names(place.folder.path()), before, "{folder}");
    }
    for flags in [
        "--test 0",
        "--test 1",
        "--size 0",
        "--size 8x",
        "--size 9999999",
    ] {
        place.fails(
            2,
            &format!("import good --out set {flags}"),
            &["it must be"],
        );
    }
    place.succeeds("import good --out set");
    place.fails(
        1,
        "import good --out set",
        &["set/train-images-idx3-ubyte: it is there already"],
    );
    place.succeeds("import good --out set --overwrite --rgb");
}

/// Windows takes spaces off the ends of names itself.
#[cfg(unix)]
#[test]
fn names_of_classes_that_spaces_alone_tell_apart_are_refused() {
    let place = Place::new();
    for (folder, name) in [("blank", " "), ("twice", "Bee ")] {
        place.write_pictures(folder, CLASSES, 2);
        let class = place.path(folder).join("Ant");
        fs::rename(&class, class.with_file_name(name)).unwrap();
        let words = ": the name of a class must be plain text, and no other's";
        place.fails(1, &format!("import {folder} --out set"), &[words]);
        assert!(!place.path("set").exists());
    }
}

#[test]
fn as_many_classes_as_a_byte_has_are_imported() {
    let place = Place::new();
    let classes: Vec<String> = (0..256).map(|n| n.to_string()).collect();
    place.write_pictures("many", classes.iter().map(String::as_str), 2);
    place.succeeds("import many --out set --size 8");
    let data = Data::open(&place.path("set"), None).unwrap();
    assert_eq!(data.class_names, classes);
    assert_eq!(data.train.labels().iter().max(), Some(&255));
}

#[test]
fn a_set_that_cannot_be_replaced_stays_or_is_refused() {
    let place = Place::new();
    place.write_pictures("mine", CLASSES, 5);
    place.write_pictures("other", ["x", "y"], 3);
    place.succeeds("import mine --out set --size 8");
    // A folder stands where a file should.
    fs::remove_file(place.path("set/classes.txt")).unwrap();
    fs::create_dir(place.path("set/classes.txt")).unwrap();
    place.fails(
        1,
        "import other --out set --size 8 --overwrite",
        &["set/classes.txt: "],
    );
    let left = names(&place.path("set"));
    assert!(left.iter().all(|name| !name.starts_with('.')), "{left:?}");
    fs::remove_dir(place.path("set/classes.txt")).unwrap();
    assert!(
        Data::open(&place.path("set"), None).is_err(),
        "half of each"
    );
    place.succeeds("import other --out set --size 8 --overwrite");
    let data = Data::open(&place.path("set"), None).unwrap();
    assert_eq!(data.class_names, ["x", "y"]);
}
