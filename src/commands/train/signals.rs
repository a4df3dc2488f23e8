//! Ctrl-C, and the signals that ask a program to end.

use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on the first of them is only noted, and the second ends the program at once. Those that
/// the program was started to ignore, as `nohup` has it, it goes on to ignore.
pub fn watch() -> Result<(), ctrlc::Error> {
    let ignored = ignored();
    ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })?;
    ignore(&ignored);
    Ok(())
}

/// Whether one has come.
pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Those of the signals watched for that are ignored now.
#[cfg(unix)]
fn ignored() -> Vec<i32> {
    let is_ignored = |signal: &i32| {
        let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: nothing is changed, and there is room for what is now in force.
        let asked = unsafe { libc::sigaction(*signal, std::ptr::null(), action.as_mut_ptr()) };
        // SAFETY: all bits 0 are a valid action, and the call wrote another if it succeeded.
        asked == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
    };
    let watched = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];
    watched.into_iter().filter(is_ignored).collect()
}

#[cfg(unix)]
fn ignore(signals: &[i32]) {
    for &signal in signals {
        // SAFETY: to ignore a signal runs no code.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

#[cfg(not(unix))]
fn ignored() -> Vec<i32> {
    Vec::new()
}

#[cfg(not(unix))]
fn ignore(_: &[i32]) {}
