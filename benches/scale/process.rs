//! CPU time and memory of a process, from the kernel.

/// Ticks per second in `/proc/<pid>/stat`: a constant of Linux's interface, independent of the kernel's clock.
const TICKS: f64 = 100.0;

/// A process, by its ID.
#[derive(Clone, Copy)]
pub struct Process(pub u32);

impl Process {
    /// Returns seconds of CPU so far, user and system together, to the hundredth.
    pub fn cpu(self) -> f64 {
        let stat = self.read("stat");
        // The name of the program, in brackets, may contain anything.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<f64>().expect("ticks")).sum::<f64>() / TICKS
    }

    /// Returns the resident memory in MiB.
    pub fn resident(self) -> f64 {
        self.status("VmRSS:")
    }

    /// Returns the peak resident memory in MiB.
    pub fn peak(self) -> f64 {
        self.status("VmHWM:")
    }

    fn status(self, field: &str) -> f64 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field");
        line.trim().trim_end_matches(" kB").parse::<f64>().expect("kB") / 1024.0
    }

    fn read(self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.0)).expect("the process runs")
    }
}

/// CPU seconds of several processes, by phase.
pub struct Others {
    named: Vec<(String, Process, f64)>,
}

impl Others {
    pub fn new(named: impl IntoIterator<Item = (String, u32)>) -> Self {
        let named = named.into_iter().map(|(name, pid)| (name, Process(pid), Process(pid).cpu()));
        Self { named: named.collect() }
    }

    /// Returns the CPU seconds of each since the last call.
    pub fn since(&mut self) -> String {
        let used = self.named.iter_mut().map(|(name, process, before)| {
            let now = process.cpu();
            format!("{name} {:.1} s", now - std::mem::replace(before, now))
        });
        used.collect::<Vec<_>>().join(", ")
    }

    /// Returns the resident memory of each in MiB.
    pub fn resident(&self) -> String {
        let resident = self.named.iter().map(|(name, process, _)| format!("{name} {:.0} MiB", process.resident()));
        resident.collect::<Vec<_>>().join(", ")
    }
}
