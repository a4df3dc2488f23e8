//! `longhand train --resume`: a run that was stopped, however it was, goes on as if it had not been.

mod place;

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use longhand::model::Model;
use longhand::training::Checkpoint;
use place::{NETWORK, Place, TRAIN, hash, names, stderr, stdout};

impl Place {
    /// Starts the program, to be killed.
    fn start(&self, line: &str) -> Child {
        let mut process = self.process(line);
        process.stdout(Stdio::null()).stderr(Stdio::null());
        process.spawn().unwrap()
    }

    /// Kills the program when its run in `folder` has a state.
    fn stop_after_an_epoch(&self, line: &str, folder: &str) {
        let mut child = self.start(line);
        let state = self.path(folder).join("state.safetensors");
        while !state.exists() {
            assert!(child.try_wait().unwrap().is_none(), "training has ended");
            std::thread::sleep(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn checkpoint(&self, folder: &str) -> Checkpoint {
        Checkpoint::open(&self.path(folder).join("state.safetensors")).unwrap()
    }

    /// What two runs must have in common, if one is as good as the other.
    fn same(&self, folder: &str, other: &str) {
        let without_seconds = |folder: &str| {
            let mut checkpoint = self.checkpoint(folder);
            checkpoint.history.iter_mut().for_each(|r| r.seconds = 0.0);
            (checkpoint.history, checkpoint.state, checkpoint.best)
        };
        assert!(without_seconds(folder) == without_seconds(other));
        for model in ["model.safetensors", "best.safetensors"] {
            let read = |folder: &str| fs::read(self.path(folder).join(model)).ok();
            assert!(read(folder) == read(other), "{model}");
        }
        let csv = |folder: &str| {
            let csv = fs::read_to_string(self.path(folder).join("history.csv")).unwrap();
            let cut = |line: &str| {
                let mut cells: Vec<String> = line.split(',').map(str::to_owned).collect();
                cells.remove(1);
                cells
            };
            csv.lines().map(cut).collect::<Vec<_>>()
        };
        assert_eq!(csv(folder), csv(other));
        assert_eq!(names(&self.path(folder)), names(&self.path(other)));
        for folder in [folder, other] {
            assert_eq!(self.run(folder)["status"], "finished");
        }
    }
}

/// Kills a run so often, each time after another while; then lets it end, and holds it against
/// one that nobody killed.
fn killed(times: u64, network: &str, flags: &str) {
    let place = Place::new();
    fs::write(place.path("net"), network).unwrap();
    place.succeeds(&format!("{TRAIN} {flags} --out whole"));
    let line = format!("{TRAIN} {flags} --out run --resume");
    let mut epochs = 0;
    let mut cut = 0;
    let mut live = 0;
    for kill in 0..times {
        let mut child = place.start(&line);
        // From before the first file to behind several epochs, in no order.
        std::thread::sleep(Duration::from_micros(kill * 7_919 % 61 * 1_000));
        // A run that has ended by itself was not killed.
        let alive = child.try_wait().unwrap().is_none();
        child.kill().unwrap();
        child.wait().unwrap();

        let state = place.path("run/state.safetensors");
        if !state.exists() {
            assert_eq!(epochs, 0, "the checkpoint is gone");
            live += u64::from(alive);
            continue;
        }
        let checkpoint = Checkpoint::open(&state).unwrap();
        let done = checkpoint.history.len();
        // Nor was one whose epochs were all done.
        let all = checkpoint.record.recipe.epochs as usize;
        live += u64::from(alive && done < all);
        assert!(done >= epochs, "epochs are gone");
        cut += usize::from(done > epochs);
        epochs = done;
        for model in ["model.safetensors", "best.safetensors"] {
            let model = place.path("run").join(model);
            if model.exists() {
                Model::open(&model, None).unwrap();
            }
        }
    }
    place.succeeds(&line);
    place.same("run", "whole");
    eprintln!(
        "{live} of {times} kills met a run that was not done, {cut} behind a new epoch; {epochs} epochs"
    );
    // On a machine that is too slow the test would prove nothing.
    assert!(cut > 0, "no kill came behind an epoch");
    assert!(
        2 * live > times,
        "only {live} kills met a run that was not done"
    );
}

#[test]
fn a_run_that_was_killed_forty_times_ends_with_the_same_bits() {
    killed(40, NETWORK, "--epochs 1000 --lr 0.02");
}

#[test]
fn all_that_a_run_can_have_is_taken_up_again() {
    killed(
        10,
        "conv2d 2 3, relu, flatten, dropout 0.3, linear 4",
        "--epochs 200 --optimizer adamw --schedule one-cycle --average 0.9 --validation 40 \
         --clip-norm 1 --label-smoothing 0.1",
    );
}

#[test]
fn threads_may_differ_and_epochs_may_be_more() {
    let place = Place::new();
    let whole = place.train_as("--epochs 5 --out whole");
    place.train_as("--epochs 2 --out run --threads 1");
    let assert = place.succeeds("train --out run --resume --epochs 5 --threads 3");
    assert_eq!(hash(&assert), whole);
    let said = stderr(&assert);
    assert!(said.contains("run: going on after epoch 2 of 5"), "{said}");
    assert!(!stdout(&assert).contains("epoch 2/5"));
    place.same("run", "whole");
    let run = place.run("run");
    assert_eq!(run["resumed"][0]["after_epoch"], 2);
    assert_eq!(run["recipe"]["epochs"], 5);
}

#[test]
fn a_finished_run_is_done_at_once_and_its_files_are_made_again() {
    let place = Place::new();
    let whole = place.train_as("--epochs 2 --validation 40 --out run");
    let model = place.model("run");
    for name in [
        "model.safetensors",
        "best.safetensors",
        "history.csv",
        "run.json",
    ] {
        fs::remove_file(place.path("run").join(name)).unwrap();
    }
    let assert = place.succeeds("train --out run --resume");
    assert_eq!(hash(&assert), whole);
    assert!(!stdout(&assert).contains("epoch 2/2"));
    assert!(place.model("run") == model);
    assert!(place.path("run/best.safetensors").exists());
    let run = place.run("run");
    assert_eq!(
        (&run["status"], run.get("resumed")),
        (&"finished".into(), None)
    );
}

#[test]
fn where_there_is_no_run_it_begins() {
    let place = Place::new();
    let whole = place.train_as("--out whole");
    assert_eq!(place.train_as("--out run --resume"), whole);
    place.same("run", "whole");
    // Without a folder: the next one, and from then on the newest.
    assert_eq!(place.train_as("--resume --epochs 1").len(), 64);
    let assert = place.succeeds("train --resume --epochs 5");
    assert_eq!(hash(&assert), whole);
    assert!(stderr(&assert).contains("runs/1: going on after epoch 1 of 5"));
    place.same("runs/1", "whole");
    assert!(!place.path("runs/2").exists());
    // The newest, not any.
    place.train_as("--epochs 1");
    let (first, record) = (place.checkpoint("runs/1"), place.run("runs/1"));
    let assert = place.succeeds("train --resume --epochs 2");
    assert!(stderr(&assert).contains("runs/2: going on after epoch 1 of 2"));
    assert!(place.checkpoint("runs/1") == first && place.run("runs/1") == record);
}

#[test]
fn what_differs_is_named_and_nothing_is_touched() {
    let place = Place::new();
    place.train_as("--epochs 2 --out run");
    place.write_data("more", "");
    let labels = place.path("more/t10k-labels-idx1-ubyte");
    let mut bytes = fs::read(&labels).unwrap();
    bytes[20] ^= 1;
    fs::write(&labels, bytes).unwrap();
    place.train_as("--epochs 1 --seed 3 --out other");
    let before = place.checkpoint("run");
    for (flags, words) in [
        ("--lr 0.5", &["optimiser.sgd.lr is 0.01, now 0.5"][..]),
        (
            "--seed 1 --batch-size 8",
            &["seed is 0, now 1", "batch_size is 32, now 8"],
        ),
        (
            "--optimizer adam",
            &["sgd.lr is 0.01, now none", "adam.beta1 is none, now 0.9"],
        ),
        ("--epochs 1", &["epochs is 2, now 1"]),
        (
            "--schedule cosine",
            &["schedule is \"constant\", now \"cosine\""],
        ),
        ("--clip-norm 2", &["clip_norm is none, now 2"]),
        ("--recipe one-cycle", &["average is none, now 0.998"]),
        (
            "--network mlp",
            &[
                "its network is input 1x8x8, conv2d",
                "now input 1x8x8, flatten",
            ],
        ),
        ("--data more", &["the MD5 of", "t10k-labels"]),
        (
            "--init other/model.safetensors",
            &["first weights is that of no file"],
        ),
    ] {
        let line = format!("train --out run --resume {flags}");
        place.fails(1, &line, words);
        assert!(place.checkpoint("run") == before, "{flags}");
    }
    // Rates that look ahead would have been others from the first epoch on.
    for schedule in ["cosine", "one-cycle"] {
        place.train_as(&format!(
            "--epochs 2 --schedule {schedule} --out {schedule}"
        ));
        let line = format!("train --out {schedule} --resume --epochs 3");
        place.fails(1, &line, &["epochs is 2, now 3"]);
    }
    let step = "--schedule step --step-epochs 1 --lr 0.1";
    let whole = place.train_as(&format!("{step} --epochs 4 --out whole"));
    place.train_as(&format!("{step} --epochs 2 --out step"));
    let assert = place.succeeds("train --out step --resume --epochs 4");
    assert_eq!(hash(&assert), whole);
    place.fails(2, "train --out run --resume --overwrite", &["--overwrite"]);
}

#[test]
fn what_is_the_same_may_be_said_again() {
    let place = Place::new();
    place.train_as("--epochs 1 --out first");
    let flags = "--init first/model.safetensors --lr 0.02";
    let whole = place.train_as(&format!("{flags} --epochs 3 --out whole"));
    place.train_as(&format!("{flags} --epochs 1 --out run"));
    let line = format!("{flags} --epochs 3 --out run --resume");
    assert_eq!(place.train_as(&line), whole);
    // The first weights are not needed any more.
    place.train_as(&format!("{flags} --epochs 1 --out again"));
    fs::remove_dir_all(place.path("first")).unwrap();
    let assert = place.succeeds("train --out again --resume --epochs 3");
    assert_eq!(hash(&assert), whole);
    // A run that repeats another is stopped and goes on as well.
    place.succeeds("train --like whole --epochs 1 --init again/model.safetensors --out like");
    place.succeeds("train --out like --resume --epochs 2");
}

#[test]
fn a_folder_is_for_one_process_at_a_time() {
    let place = Place::new();
    let line = format!("{TRAIN} --epochs 100000 --out run");
    let mut first = place.start(&line);
    while !place.path("run/state.safetensors").exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    for flags in ["", "--resume", "--overwrite"] {
        let line = format!("{line} {flags}");
        place.fails(
            1,
            &line,
            &["run: another process is training into this folder"],
        );
    }
    assert!(first.try_wait().unwrap().is_none());
    first.kill().unwrap();
    first.wait().unwrap();
    // The lock has died with its holder.
    let done = place.checkpoint("run").history.len();
    let line = format!("{TRAIN} --epochs 1 --out run --overwrite");
    place.succeeds(&line);
    assert!(done >= 1);
}

#[test]
fn weights_without_a_state_are_not_gone_on_with() {
    let place = Place::new();
    place.train_as("--epochs 1 --out run");
    fs::remove_file(place.path("run/state.safetensors")).unwrap();
    let words = ["no state.safetensors to go on from", "--overwrite"];
    place.fails(1, &format!("{TRAIN} --out run --resume"), &words);
    place.fails(
        1,
        &format!("{TRAIN} --out run"),
        &["--resume", "--overwrite"],
    );
}

#[test]
fn a_damaged_state_is_refused_and_left_alone() {
    let place = Place::new();
    place.train_as("--epochs 1 --out run");
    let path = place.path("run/state.safetensors");
    let whole = fs::read(&path).unwrap();
    let model = place.model("run");
    let other = b"PK\x03\x04 something else";
    for damaged in [&whole[..whole.len() / 2], &whole[..3], &model, other, b""] {
        fs::write(&path, damaged).unwrap();
        let line = format!("{TRAIN} --epochs 2 --out run --resume");
        place.fails(1, &line, &["state.safetensors: "]);
        assert!(fs::read(&path).unwrap() == damaged);
    }
    fs::write(&path, whole).unwrap();
    place.succeeds("train --out run --resume --epochs 2");
}

/// The limit stands for a disk that is full: the file cannot grow.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_the_last_checkpoint() {
    let place = Place::new();
    // A state is larger than all else.
    fs::write(place.path("net"), "flatten, linear 300, linear 4").unwrap();
    let whole = place.train_as("--epochs 60 --out whole");
    place.train_as("--epochs 2 --out run");
    let state = fs::metadata(place.path("run/state.safetensors")).unwrap();
    // It grows by a line of history an epoch, and by what is said of its going on.
    let blocks = (state.len() + 4096).div_ceil(512);
    let limit = format!("trap '' XFSZ; ulimit -f {blocks}");
    let shell = place.shell(&limit, "train --out run --resume --epochs 60");
    let assert = assert_cmd::Command::from_std(shell).assert();
    let left = place.checkpoint("run");
    let done = left.history.len();
    assert!(
        (3..60).contains(&done),
        "{done} epochs: the limit is not where it should be"
    );
    let words = [
        "run/state.safetensors: ",
        &format!("The weights after epoch {done} are in run/model.safetensors"),
    ];
    place::failed(assert, 1, &words);
    assert!(
        names(&place.path("run"))
            .iter()
            .all(|name| !name.starts_with(".unfinished"))
    );
    // What is told of the run is what is there.
    let (run, model) = (
        place.run("run"),
        Model::open(&place.path("run/model.safetensors"), None),
    );
    let sum = longhand::digest::sha256(&model.unwrap().parameters);
    assert_eq!(
        (&run["status"], &run["result"]["epoch"]),
        (&"failed".into(), &done.into())
    );
    assert_eq!(run["result"]["weights_sha256"], sum);
    assert_eq!(place.history("run").len(), done);
    let assert = place.succeeds("train --out run --resume --epochs 60");
    assert_eq!(hash(&assert), whole);
    place.same("run", "whole");
}

/// With its network, data and settings, none of which need be said again.
#[test]
fn a_run_without_an_epoch_is_begun_again_as_it_was_to_be() {
    let place = Place::new();
    let line = format!("{TRAIN} --epochs 3 --seed 7 --momentum 0.1 --out run");
    let words = ["the loss is", "No epoch was done"];
    place.fails(1, &format!("{line} --lr 1e30"), &words);
    assert!(!place.path("run/state.safetensors").exists());
    place.fails(1, "train --out run --resume", &words);
    let whole = hash(&place.succeeds("train --out run --resume --lr 0.1"));
    let again = place.train_as("--epochs 3 --seed 7 --momentum 0.1 --lr 0.1 --out again");
    assert_eq!(again, whole);
    place.same("run", "again");
}

#[test]
fn a_run_that_was_over_is_only_looked_at() {
    let place = Place::new();
    for (folder, flags) in [
        ("all", "--epochs 2"),
        ("patient", "--epochs 50 --validation 40 --patience 1 --lr 0"),
    ] {
        place.train_as(&format!("--engine reference {flags} --out {folder}"));
        let before = place.run(folder);
        place.succeeds(&format!("train --out {folder} --resume --engine im2col"));
        assert_eq!(place.run(folder), before);
    }
}

#[test]
fn what_computed_each_part_of_a_run_is_written_down() {
    let place = Place::new();
    place.train_as("--epochs 2 --engine reference --out run");
    place.succeeds("train --out run --resume --epochs 3 --engine im2col");
    // What is not said is as in the last part.
    place.succeeds("train --out run --resume --epochs 4");
    let run = place.run("run");
    assert_eq!(run["machine"]["engine"], "reference");
    for part in [0, 1] {
        assert_eq!(run["resumed"][part]["machine"]["engine"], "im2col");
    }
    let assert = place.succeeds("train --like run --out like");
    let said = stdout(&assert);
    // With luck they are the same.
    assert!(
        said.contains("reference, then im2col on") || said.contains("bit for bit"),
        "{said}"
    );
}

#[test]
fn images_must_lie_as_they_lay() {
    let place = Place::new();
    place.train_as("--epochs 1 --emnist --out run");
    let line = "train --data data --out run --resume --epochs 2";
    place.fails(1, line, &["--emnist is true, now false"]);
    place.succeeds(&format!("{line} --emnist"));
}

/// As `nohup` starts a program.
#[cfg(unix)]
#[test]
fn a_signal_that_is_ignored_from_the_beginning_stops_nothing() {
    let place = Place::new();
    let line = format!("{TRAIN} --epochs 100000 --out run");
    let mut shell = place.shell("trap '' HUP", &line);
    let mut child = shell
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !place.path("run/state.safetensors").exists() {
        assert!(child.try_wait().unwrap().is_none(), "training has ended");
        std::thread::sleep(Duration::from_millis(2));
    }
    let id = child.id().to_string();
    let kill = |signal: &str| {
        let mut kill = std::process::Command::new("kill");
        kill.args([signal, &id]).status().unwrap()
    };
    assert!(kill("-HUP").success());
    // To be stopped takes an epoch, which is milliseconds.
    std::thread::sleep(Duration::from_millis(300));
    assert!(
        child.try_wait().unwrap().is_none(),
        "the hang-up stopped it"
    );
    assert!(kill("-TERM").success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(place.run("run")["status"], "interrupted");
}

/// The first state cannot be written: neither an empty folder nor one of an older run says otherwise.
#[cfg(unix)]
#[test]
fn a_full_disk_in_the_first_epoch_leaves_no_epoch() {
    let place = Place::new();
    fs::write(place.path("net"), "flatten, linear 300, linear 4").unwrap();
    place.train_as("--epochs 2 --out old");
    let files = || {
        let folder = place.path("old");
        let names = names(&folder).into_iter();
        let read = names.map(|name| (fs::read(folder.join(&name)).unwrap(), name));
        read.collect::<Vec<_>>()
    };
    let before = files();
    for (folder, flags, words) in [
        ("new", "", "No epoch was done, so there are no weights yet"),
        (
            "old",
            "--overwrite --lr 0.1",
            "the run that was in old is still there",
        ),
    ] {
        let line = format!("{TRAIN} --epochs 3 --out {folder} {flags}");
        let shell = place.shell("trap '' XFSZ; ulimit -f 80", &line);
        let assert = assert_cmd::Command::from_std(shell).assert();
        place::failed(assert, 1, &["state.safetensors: ", words]);
    }
    let run = place.run("new");
    assert_eq!(
        (&run["status"], run.get("result")),
        (&"failed".into(), None)
    );
    assert_eq!(names(&place.path("new")), [".lock", "run.json"]);
    assert!(files() == before);
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_is_known_before_training() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.train_as("--epochs 1 --out run");
    let set = |mode| fs::set_permissions(place.path("run"), fs::Permissions::from_mode(mode));
    set(0o555).unwrap();
    // The superuser may write everywhere but where the system itself says no.
    let folder = match fs::write(place.path("run/probe"), "").is_err() {
        true => "run",
        false => "/proc/self",
    };
    for flags in ["--resume", "--overwrite"] {
        let line = format!("{TRAIN} --epochs 2 --out {folder} {flags}");
        place.fails(1, &line, &[&format!("{folder}/")]);
    }
    set(0o755).unwrap();
    assert_eq!(place.checkpoint("run").history.len(), 1);
}

#[test]
fn the_state_is_no_model_and_says_so() {
    let place = Place::new();
    place.stop_after_an_epoch(&format!("{TRAIN} --epochs 100000 --out run"), "run");
    let line = "test --data data --model run/state.safetensors";
    place.fails(1, line, &["state.safetensors: ", "which network"]);
    assert_eq!(place.checkpoint("run").record.network, NETWORK);
}
