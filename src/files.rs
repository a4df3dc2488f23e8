//! Files: written so that they are whole, read within a limit.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use tempfile::Builder;

/// Writes a file so that there is never half of one: to a temporary file in the same folder,
/// synced to the disk, then renamed over `path`. A symbolic link is followed to the file that is
/// there; what is no file, such as `/dev/null`, is written into as it is.
///
/// # Errors
/// What the operating system says. The file that was there before then still is; or, if only the
/// folder could not be synced, the new one is there.
pub fn write_whole(path: &Path, contents: &[u8]) -> io::Result<()> {
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if std::fs::metadata(path).is_ok_and(|it| !it.is_file() && !it.is_dir()) {
        return std::fs::write(path, contents);
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = Builder::new();
    builder.prefix(UNFINISHED);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // What a program asks for by default; the umask takes its part away.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = tried(|| builder.tempfile_in(folder))?;
    tried(|| file.write_all(contents))?;
    tried(|| file.as_file().sync_all())?;
    tried(|| Ok(file.persist(path)?))?;
    tried(|| sync_folder(folder))
}

/// Waits until the names in a folder are on the disk. Windows has no such call.
///
/// # Errors
/// What the operating system says.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    match cfg!(unix) {
        true => File::open(folder)?.sync_all(),
        false => Ok(()),
    }
}

/// Removes a file, if it is there.
///
/// # Errors
/// What the operating system says.
pub fn remove(path: &Path) -> io::Result<()> {
    match tried(|| std::fs::remove_file(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Reads a file of at most so many bytes.
///
/// # Errors
/// What the operating system says, or [`io::ErrorKind::FileTooLarge`].
pub fn read_at_most(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let message = format!("larger than the {most} bytes that such a file may have");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// How the names of files begin that were being written when the program was killed.
pub const UNFINISHED: &str = ".unfinished-";

/// An operation on files, any of which a test may let fail.
fn tried<R>(operation: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
    #[cfg(test)]
    faults::next()?;
    operation()
}

/// Lets the tests of this crate see what is left when a disk fails in the midst of writing.
#[cfg(test)]
pub(crate) mod faults {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        /// How many operations of this thread still succeed.
        static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
    }

    /// From now on, this thread's next `count` operations succeed and all after them fail.
    pub fn fail_after(count: usize) {
        LEFT.set(count);
    }

    pub(super) fn next() -> io::Result<()> {
        let left = LEFT.get();
        LEFT.set(left.saturating_sub(1));
        match left {
            0 => Err(io::Error::other("a fault that a test has planted")),
            _ => Ok(()),
        }
    }
}
