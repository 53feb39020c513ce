//! Processor time, from the kernel's accounts.

/// Ticks of the kernel's accounts a second: the same on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// Seconds that a process has used so far, all its threads together.
pub fn of(pid: u32) -> f64 {
    seconds(&format!("/proc/{pid}/stat"), 0)
}

/// Seconds that this process's children have used that have ended.
pub fn of_ended_children() -> f64 {
    seconds("/proc/self/stat", 2)
}

/// Processor time of FalkorDB's parts, in seconds.
#[derive(Clone, Copy, Default)]
pub struct FalkorTime {
    /// The main thread: commands, GRAPH.BULK and the commit of writes.
    pub main: f64,
    /// The threads that run queries, conversions included.
    pub pool: f64,
    /// The thread that fills indices.
    pub indexer: f64,
}

/// Splits FalkorDB's processor time by its threads: the indexer has the name of the main thread, which has the process's id.
pub fn of_falkordb(pid: u32) -> FalkorTime {
    let mut time = FalkorTime::default();
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let path = task.path();
        let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        let used = seconds(&path.join("stat").to_string_lossy(), 0);
        if task.file_name().to_string_lossy() == pid.to_string() {
            time.main += used;
        } else if name.starts_with("redis-server") {
            time.indexer += used;
        } else if name.starts_with("thread-pool") {
            time.pool += used;
        }
    }
    time
}

fn seconds(path: &str, skip: usize) -> f64 {
    let stat = std::fs::read_to_string(path).unwrap_or_default();
    // The name may hold blanks; user and system time are the twelfth and thirteenth field after it.
    let fields: Vec<f64> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(11 + skip)
        .take(2)
        .filter_map(|field| field.parse().ok())
        .collect();
    fields.iter().sum::<f64>() / TICKS
}
