//! The resources of the process itself, as the kernel reports them.

use std::fs;

/// The unit of the kernel's processor times: a hundredth of a second on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// The kernel's unit of memory on this program's platforms.
const KIB: f64 = 1024.0;

/// The resources that the process uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Process {
    /// The memory that the process occupies.
    pub resident_bytes: f64,
    /// The processor time that the process used.
    pub cpu_seconds: f64,
    /// Files and sockets that are open.
    pub open_files: f64,
    /// The start of the process, in seconds since 1970.
    pub began_at: f64,
}

impl Process {
    /// The present resources of this process; nothing if the kernel does not report them.
    pub(crate) fn now() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let boot = fs::read_to_string("/proc/stat").ok()?;
        let open_files = fs::read_dir("/proc/self/fd").ok()?.count() as f64;
        let (cpu, began) = times(&stat)?;
        let resident_bytes = field(&status, "VmRSS:")? * KIB;
        Some(Self { resident_bytes, cpu_seconds: cpu, open_files, began_at: field(&boot, "btime")? + began })
    }
}

/// Processor seconds, and seconds between the machine's start and the process's.
fn times(stat: &str) -> Option<(f64, f64)> {
    // The second field is the program's name, which may contain anything, including brackets.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<f64> = rest.split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0.0)).collect();
    // The index is relative to the fourth field of the line: utime is the 14th, stime the 15th, starttime the 22nd.
    Some(((fields.get(10)? + fields.get(11)?) / TICKS_PER_SECOND, fields.get(18)? / TICKS_PER_SECOND))
}

fn field(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_kernel_is_understood_whatever_the_program_is_called() {
        let line = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 0 0 0 250 150 0 0 20 0 9 0 12345 1 2";
        assert_eq!(times(line), Some((4.0, 123.45)));
    }

    #[test]
    fn this_process_costs_something() {
        let process = Process::now().unwrap();
        assert!(process.resident_bytes > 1e6 && process.open_files > 2.0, "{process:?}");
        let now = chrono::Utc::now().timestamp() as f64;
        assert!(process.began_at <= now + 1.0 && process.began_at > now - 86_400.0, "{process:?}");
    }
}
