//! The file that a report is: a compressed archive that nobody else may read, and that takes the
//! place of no other file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

/// An archive that is being written. One that was not finished is removed.
pub(super) struct Pack {
    path: PathBuf,
    /// The folder in which everything stands in it.
    folder: String,
    /// When, in seconds since 1970.
    at: u64,
    archive: Option<tar::Builder<GzEncoder<File>>>,
}

impl Pack {
    /// Begins one.
    ///
    /// # Errors
    /// There is such a file already, or none can be made there.
    pub(super) fn create(path: &Path, folder: String, at: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        Ok(Self {
            path: path.to_owned(),
            folder,
            at,
            archive: Some(tar::Builder::new(GzEncoder::new(
                file,
                Compression::default(),
            ))),
        })
    }

    /// Adds a file.
    ///
    /// # Errors
    /// The disk takes no more.
    pub(super) fn add(&mut self, name: &str, text: &str) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.at);
        let path = format!("{}/{name}", self.folder);
        match &mut self.archive {
            Some(archive) => archive.append_data(&mut header, path, text.as_bytes()),
            None => Ok(()),
        }
    }

    /// Writes the end of it.
    ///
    /// # Errors
    /// The disk takes no more.
    pub(super) fn finish(mut self) -> io::Result<()> {
        let Some(archive) = self.archive.take() else {
            return Ok(());
        };
        let written = archive
            .into_inner()
            .and_then(GzEncoder::finish)
            .and_then(|file| file.sync_all());
        if written.is_err() {
            let _ = fs::remove_file(&self.path);
        }
        written
    }
}

impl Drop for Pack {
    fn drop(&mut self) {
        if self.archive.take().is_some() {
            // Nobody is told: why it was not finished is.
            let _ = fs::remove_file(&self.path);
        }
    }
}
