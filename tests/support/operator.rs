//! An operator: the real binary, as a process.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

pub const OPERATOR: &str = env!("CARGO_BIN_EXE_ukgpro-operator");

/// The operator that is run: of this build, or another, such as a release, that `OPERATOR_BINARY` names.
pub fn operator() -> String {
    std::env::var("OPERATOR_BINARY").unwrap_or_else(|_| OPERATOR.to_owned())
}

/// The operator in a mount namespace of its own, where `/etc/hosts` is the file that `HOSTS` names.
pub fn with_hosts() -> Vec<&'static str> {
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    let mut program = vec!["unshare", "--mount"];
    if !root {
        program.extend(["--user", "--map-root-user"]);
    }
    program.extend(["sh", "-c", "mount --bind \"$HOSTS\" /etc/hosts && exec \"$0\" \"$@\"", OPERATOR]);
    program
}

pub struct Operator {
    process: Child,
}

impl Operator {
    /// Starts one with these flags and variables besides. Its log goes on in the same file after a restart.
    ///
    /// `program` is the operator behind another program, as [`with_hosts`] gives one; empty for the operator itself.
    pub fn start(
        program: &[&str],
        kubeconfig: &Path,
        system_namespace: &str,
        log: &Path,
        flags: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let mut command = Command::new(program.first().map_or_else(operator, |&program| program.to_owned()));
        command
            .args(program.iter().skip(1))
            .args([
                "run",
                "--system-namespace",
                system_namespace,
                "--allowed-domains",
                "ultipro.localhost:*,ultipro.com:*,ultipro.invalid:*,ultipro.test:*",
            ])
            .args(["--health-address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0", "--log-format", "json"])
            .env("UKGPRO_LOG_LEVEL", "debug,hyper_util=info,h2=info")
            // A test that is about it says otherwise.
            .env("UKGPRO_LEADER_ELECTION", "false")
            .args(flags)
            .envs(variables.iter().copied());
        Self::spawn(command, kubeconfig, log)
    }

    /// Starts one with exactly these arguments and variables.
    pub fn start_as(kubeconfig: &Path, log: &Path, arguments: &[String], variables: &[(String, String)]) -> Self {
        let mut command = Command::new(operator());
        command.args(arguments).envs(variables.iter().cloned());
        Self::spawn(command, kubeconfig, log)
    }

    fn spawn(mut command: Command, kubeconfig: &Path, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("a log file");
        command.env("KUBECONFIG", kubeconfig).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        Self { process: command.spawn().expect("the operator starts") }
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().is_ok_and(|ended| ended.is_none())
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Asks it to stop, as Kubernetes does, and waits until it has.
    pub fn stop(mut self) -> ExitStatus {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        self.process.wait().expect("the operator ends")
    }

    /// Ends it without a word.
    pub fn kill(mut self) {
        self.process.kill().expect("the operator runs");
        self.process.wait().expect("the operator ends");
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
