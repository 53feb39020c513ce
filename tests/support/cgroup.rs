//! Limits of a process as a container has them, by the kernel's control groups, where this user may make some.

use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = "/sys/fs/cgroup";

/// The kernel hands out processor time in such periods, in microseconds.
const PERIOD: u64 = 100_000;

/// Groups that a process is put into. They go with this, once the process has.
pub struct Limits {
    groups: Vec<PathBuf>,
}

impl Limits {
    /// Groups with these limits, in either version of the kernel's interface; nothing where it lets this user make none.
    pub fn new(name: &str, cores: f64, bytes: u64) -> Option<Self> {
        let quota = (PERIOD as f64 * cores) as u64;
        let name = format!("{name}-{}", std::process::id());
        let both = Path::new(ROOT).join("cgroup.controllers").exists();
        let settings: Vec<(PathBuf, &str, String)> = if both {
            let group = Path::new(ROOT).join(&name);
            vec![(group.clone(), "cpu.max", format!("{quota} {PERIOD}")), (group, "memory.max", bytes.to_string())]
        } else {
            let (cpu, memory) = (Path::new(ROOT).join("cpu").join(&name), Path::new(ROOT).join("memory").join(&name));
            vec![
                (cpu.clone(), "cpu.cfs_period_us", PERIOD.to_string()),
                (cpu, "cpu.cfs_quota_us", quota.to_string()),
                (memory, "memory.limit_in_bytes", bytes.to_string()),
            ]
        };
        let mut limits = Self { groups: Vec::new() };
        for (group, setting, value) in settings {
            if !limits.groups.contains(&group) {
                fs::create_dir_all(&group).ok()?;
                limits.groups.push(group.clone());
            }
            fs::write(group.join(setting), value).ok()?;
        }
        Some(limits)
    }

    /// Puts a process under the limits.
    pub fn hold(&self, pid: u32) -> std::io::Result<()> {
        self.groups.iter().try_for_each(|group| fs::write(group.join("cgroup.procs"), pid.to_string()))
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        // A group that still has a process stays; there is nothing more to be done about it.
        self.groups.iter().for_each(|group| drop(fs::remove_dir(group)));
    }
}
