//! Figures as a table for people and as JSON for scripts.

/// Least, median and most of some measurements.
pub struct Spread(pub Vec<f64>);

impl Spread {
    pub fn at(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let place = ((sorted.len() as f64 - 1.0) * share).round() as usize;
        sorted.get(place).copied().unwrap_or(f64::NAN)
    }

    pub fn median(&self) -> f64 {
        self.at(0.5)
    }
}

pub fn print(title: &str, rows: &[(&str, Spread)]) {
    println!("\n{title}");
    println!("{:<44} {:>10} {:>10} {:>10}", "", "least", "median", "most");
    for (name, spread) in rows {
        println!("{name:<44} {:>10.3} {:>10.3} {:>10.3}", spread.at(0.0), spread.median(), spread.at(1.0));
    }
    let values: serde_json::Map<String, serde_json::Value> = rows
        .iter()
        .map(|(name, spread)| {
            let values = serde_json::json!({"least": spread.at(0.0), "median": spread.median(), "most": spread.at(1.0)});
            ((*name).to_owned(), values)
        })
        .collect();
    println!("{}", serde_json::json!({"benchmark": title, "figures": values}));
}

pub fn print_machine() {
    let model = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        model.lines().find_map(|line| line.strip_prefix("model name").map(|rest| rest.trim_start_matches(['\t', ' ', ':'])));
    let processors = std::thread::available_parallelism().map(usize::from).unwrap_or(0);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("machine: {processors} processors, {}; load {}", model.unwrap_or("unknown"), load.trim());
}
