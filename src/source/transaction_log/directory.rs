//! The directory in which a database keeps its log.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::header::FileHeader;
use super::landmarks::Landmarks;
use super::refusal::LogRefusal;

/// The prefix of a log file's name, before its number. Checkpoint files in the same directory have another prefix.
const NAME: &str = "neostore.transaction.db.";

/// A directory with the log of one database.
#[derive(Debug, Clone)]
pub(crate) struct LogDirectory {
    path: PathBuf,
    /// The reason why the log could not be followed at the last try. All followers together report the same reason only once.
    refusal: Arc<Mutex<Option<String>>>,
    /// The landmarks that all tails of this log have left.
    landmarks: Arc<Landmarks>,
}

/// An open log file with a complete header.
#[derive(Debug)]
pub(crate) struct LogFile {
    /// The file, open for reading.
    pub file: File,
    /// The header of the file.
    pub header: FileHeader,
}

impl LogDirectory {
    /// Names the directory at this path, `…/data/transactions/<database>`.
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), refusal: Arc::default(), landmarks: Arc::default() }
    }

    /// Notes a reason, and returns whether it differs from the last one.
    pub(super) fn is_news(&self, reason: &str) -> bool {
        self.refusal.lock().replace(reason.to_owned()).as_deref() != Some(reason)
    }

    /// Notes that the log can be followed.
    pub(super) fn note_readable(&self) {
        *self.refusal.lock() = None;
    }

    /// The landmarks of this log.
    pub(super) fn landmarks(&self) -> &Landmarks {
        &self.landmarks
    }

    /// The path of the directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The numbers of its log files, in order.
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

    /// Opens a file; `None` if it does not exist, or the server has not written its header yet.
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

    /// Opens all existing files, by number. Omits a file that is deleted meanwhile.
    pub(crate) fn open_all(&self) -> Result<BTreeMap<u64, LogFile>, LogRefusal> {
        let mut files = BTreeMap::new();
        for number in self.numbers()? {
            files.extend(self.open(number)?.map(|file| (number, file)));
        }
        Ok(files)
    }
}
