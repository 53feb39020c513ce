//! The directory in which a database keeps its log.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::header::FileHeader;
use super::refusal::LogRefusal;

/// What the name of a log file begins with; its number follows. Checkpoints lie beside them under another name.
const NAME: &str = "neostore.transaction.db.";

/// A directory with the log of one database.
#[derive(Debug, Clone)]
pub struct LogDirectory {
    path: PathBuf,
    /// Why it could not be followed when it was last tried. All that follow it say the same only once.
    refusal: Arc<Mutex<Option<String>>>,
}

/// An open log file whose header is written.
#[derive(Debug)]
pub struct LogFile {
    /// The file.
    pub file: File,
    /// Its header.
    pub header: FileHeader,
}

impl LogDirectory {
    /// The directory at this path, `…/data/transactions/<database>`.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), refusal: Arc::default() }
    }

    /// Whether this is another reason than the last one.
    pub(super) fn is_news(&self, reason: &str) -> bool {
        self.refusal.lock().replace(reason.to_owned()).as_deref() != Some(reason)
    }

    /// Notes that it can be followed.
    pub(super) fn note_readable(&self) {
        *self.refusal.lock() = None;
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The numbers of its files, in order.
    pub(crate) fn numbers(&self) -> Result<Vec<u64>, LogRefusal> {
        let unreadable = |error| LogRefusal::Directory { path: self.path.clone(), source: error };
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.strip_prefix(NAME)).and_then(|number| number.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Opens a file; nothing where there is none, or where the server has not written its header yet.
    pub(crate) fn open(&self, number: u64) -> Result<Option<LogFile>, LogRefusal> {
        let path = self.path.join(format!("{NAME}{number}"));
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LogRefusal::Directory { path, source: error }),
        };
        let Some(header) = FileHeader::read(&file)? else { return Ok(None) };
        if header.file != number {
            return Err(LogRefusal::Misnamed { path, number: header.file });
        }
        Ok(Some(LogFile { file, header }))
    }

    /// Opens the newest file that has a header.
    pub(crate) fn newest(&self) -> Result<LogFile, LogRefusal> {
        for number in self.numbers()?.into_iter().rev() {
            if let Some(file) = self.open(number)? {
                return Ok(file);
            }
        }
        Err(LogRefusal::Empty(self.path.clone()))
    }

    /// Opens all files that are there, by number. A file that is deleted meanwhile is left out.
    pub(crate) fn open_all(&self) -> Result<BTreeMap<u64, LogFile>, LogRefusal> {
        let mut files = BTreeMap::new();
        for number in self.numbers()? {
            files.extend(self.open(number)?.map(|file| (number, file)));
        }
        Ok(files)
    }
}
