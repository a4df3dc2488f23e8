//! Files that are exchanged with other programs, and how a file is written so that it is whole.

pub mod pytorch;
pub mod safetensors;

use std::io::{self, Write};
use std::path::Path;

use tempfile::Builder;

/// Writes a file so that there is never half of one: to a temporary file in the same folder,
/// synced to the disk, then renamed over `path`.
///
/// # Errors
/// What the operating system says. The file that was there before then still is.
pub fn write_whole(path: &Path, contents: &[u8]) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = Builder::new();
    builder.prefix(".unfinished-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // What a program asks for by default; the umask takes its part away.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(contents)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    // The new name is on the disk when the folder is. Windows has no such call.
    #[cfg(unix)]
    std::fs::File::open(folder)?.sync_all()?;
    Ok(())
}
