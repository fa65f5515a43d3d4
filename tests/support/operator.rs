//! The real operator binary, as a process.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

pub const OPERATOR: &str = env!("CARGO_BIN_EXE_ukgpro-operator");

/// Returns the operator to run: the one that `OPERATOR_BINARY` names, such as a release, or that of this build.
pub fn operator() -> String {
    std::env::var("OPERATOR_BINARY").unwrap_or_else(|_| OPERATOR.to_owned())
}

/// Returns a command for the operator in its own mount namespace, where `/etc/hosts` is the file that `HOSTS` names.
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
    /// Starts an operator with these additional flags and variables. After a restart, its log continues in the same file.
    ///
    /// `program` is a command that runs the operator, such as [`with_hosts`] returns, or empty for the operator itself.
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
            // Tests of leader election override this.
            .env("UKGPRO_LEADER_ELECTION", "false")
            .args(flags)
            .envs(variables.iter().copied());
        Self::spawn(command, kubeconfig, log)
    }

    /// Starts an operator with exactly these arguments and variables.
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

    /// Whether the process is still running.
    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().is_ok_and(|ended| ended.is_none())
    }

    /// Returns its process ID.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Stops it with SIGTERM, as Kubernetes does, and waits until it has ended.
    pub fn stop(mut self) -> ExitStatus {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
        self.process.wait().expect("the operator ends")
    }

    /// Ends it with SIGKILL.
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
