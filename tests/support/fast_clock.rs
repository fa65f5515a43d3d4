//! The operator's own code in the test's process, on a clock on which a day passes in seconds.

use std::path::Path;
use std::sync::Arc;

use kube::Config;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use ukg_pro::catalogue::Catalogue;
use ukg_pro::transport::ProxySettings;
use ukgpro_operator::cluster::deadlines::Deadlines;
use ukgpro_operator::controller::Policy;
use ukgpro_operator::login_guard::Limits;
use ukgpro_operator::operator::{Operator, OperatorError, SecretWatch, Settings};
use ukgpro_operator::schedule::clock::Clock;
use ukgpro_operator::schedule::hosts::HostLimits;
use ukgpro_operator::telemetry::health::Readiness;
use ukgpro_operator::telemetry::watchdog::{Bounds, Watchdog};

pub struct InProcessOperator {
    pub clock: Clock,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), OperatorError>>,
}

impl InProcessOperator {
    pub async fn start(kubeconfig: &Path, namespace: &str, factor: u32, deadlines: Deadlines) -> Self {
        let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("a configuration");
        let client = ClientBuilder::try_from(config).expect("a client").with_layer(&deadlines).build();
        let clock = Clock::simulated(factor);
        let settings = Settings {
            namespaces: vec![namespace.to_owned()],
            selector: None,
            controller_class: None,
            secret_watch: SecretWatch::All,
            system_namespace: namespace.to_owned(),
            ledger_secret: "ukgpro-operator-ledger".to_owned(),
            limits: Limits::default(),
            host_limits: HostLimits::default(),
            clock: clock.clone(),
            policy: Policy {
                allowed_domains: vec!["ultipro.localhost:*".parse().expect("a domain")],
                secret_subdomains: Vec::new(),
                allow_private_addresses: false,
                heartbeat: None,
                words: Catalogue::built_in().words(),
            },
            catalogue: Catalogue::built_in(),
            proxy: ProxySettings::default(),
            concurrency: 16,
            instance: "in-a-hurry".to_owned(),
        };
        let (stop, stopped) = oneshot::channel();
        let operator = Operator::new(client, settings, Arc::new(Watchdog::new(Bounds::default()))).expect("an operator");
        let running = tokio::spawn(operator.run(None, Readiness::default(), async move {
            let _ = stopped.await;
        }));
        Self { clock, stop, running }
    }

    pub async fn stop(self) {
        let _ = self.stop.send(());
        self.running.await.expect("no panic").expect("no error");
    }
}
