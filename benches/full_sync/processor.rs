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
