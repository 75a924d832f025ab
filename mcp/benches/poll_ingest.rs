//! What a poll and an upload cost, without TLS, at 10 and at 10,000 sites: CPU time of all threads, so that
//! a busy machine or a slow disk does not show.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub
)]

#[path = "../tests/server/bundles.rs"]
mod bundles;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bundles::{Ledger, evidence_key, now, tenant};
use compliance_mcp::app::App;
use compliance_mcp::config::{self, Config};
use compliance_mcp::feed::Poll;
use compliance_mcp::{appliance, ingest, push};
use compliance_protocol::feed::Nonce;
use compliance_protocol::key::KeySet;
use compliance_protocol::name::Site;
use compliance_protocol::trust::{OrderKeys, Roles, Trust};
use compliance_signing::{PrivateKey, sign};
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use nix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;

/// Bundles in one upload.
const BATCH: usize = 64;

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(&[seed; 32]).unwrap()
}

fn site(number: usize) -> Site {
    format!("clinic-{number}").parse().unwrap()
}

fn open(folder: &Path) -> Arc<App> {
    let write = |name: &str, key: PrivateKey| {
        let path = folder.join(name);
        std::fs::write(&path, key.to_pem().unwrap().as_bytes()).unwrap();
        path
    };
    let config = Config {
        tenant: tenant(),
        data_dir: folder.join("data"),
        listen: "127.0.0.1:0".parse().unwrap(),
        poll_after_s: 60,
        log_origin: "mcp.example/acme".to_owned(),
        feed_key: write("feed.key", key(1)),
        checkpoint_key: write("checkpoint.key", key(2)),
        root: config::Root { keys: vec![key(3).public()], threshold: 1 },
        tls: config::Tls {
            certificate: folder.join("none"),
            key: folder.join("none"),
            client_ca: folder.join("none"),
        },
        operator: config::Operator::default(),
        console: config::Console::default(),
        log: config::Log::default(),
    };
    Arc::new(App::open(&config, Arc::new(now), Arc::new(|| Ok([0; 32]))).unwrap())
}

async fn register(app: &Arc<App>, site: Site) {
    let one = |key: &PrivateKey| KeySet::new(vec![key.public()], 1).unwrap();
    let trust = Trust {
        version: 1,
        tenant: tenant(),
        site: site.clone(),
        epoch: 1,
        roles: Roles {
            root: one(&key(3)),
            orders: OrderKeys { any: one(&key(4)), threshold_now: 1 },
            baseline: one(&key(5)),
            feed: one(&key(1)),
            checkpoint: key(2).public(),
            evidence: evidence_key(site.as_str()).public(),
        },
        log: app.log.clone(),
    };
    let envelope = sign(&trust, &[&key(3)]).unwrap();
    let shared = Arc::clone(app);
    app.store.write(move |tx| push::trust(tx, &shared, &site, &envelope, now())).await.unwrap();
}

/// The CPU time of this process.
struct CpuTime;

impl CpuTime {
    fn now() -> Duration {
        clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap().into()
    }
}

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        Self::now()
    }

    fn end(&self, start: Duration) -> Duration {
        Self::now().saturating_sub(start)
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

fn measure(criterion: &mut Criterion<CpuTime>) {
    let runtime = Runtime::new().unwrap();
    for sites in [10, 10_000] {
        let folder = tempfile::tempdir().unwrap();
        let app = open(folder.path());
        runtime.block_on(async {
            for number in 0..sites {
                register(&app, site(number)).await;
            }
        });
        let mut ledgers: Vec<_> =
            (0..sites.min(100)).map(|n| Ledger::new(site(n).as_str())).collect();
        let mut upload = |ledger: usize, count: usize, known: u64| {
            let (name, bundles) = (site(ledger), ledgers[ledger].make(count));
            (name, bundles, known)
        };
        for ledger in 0..sites.min(100) {
            let (name, bundles, log) = upload(ledger, 8, 0);
            runtime.block_on(ingest::ingest(&app, &name, bundles, log)).unwrap();
        }

        let mut next = 0;
        criterion.bench_function(&format!("poll/{sites} sites"), |bench| {
            bench.iter(|| {
                next = (next + 7919) % sites;
                let nonce = Nonce::from_random([7; 16]);
                let log = u64::try_from(1 + next % 79).unwrap();
                appliance::poll_of(
                    &app,
                    &site(next),
                    Poll { after: 0, nonce, log, pending: Some(0) },
                )
                .unwrap()
            });
        });

        let mut group = criterion.benchmark_group(format!("ingest/{sites} sites"));
        group.sample_size(20);
        for batch in [1, BATCH] {
            group.throughput(Throughput::Elements(u64::try_from(batch).unwrap()));
            group.bench_function(format!("{batch} bundles an upload"), |bench| {
                let mut turn = 0;
                bench.iter_batched(
                    || {
                        turn += 1;
                        upload(turn % sites.min(100), batch, 40)
                    },
                    |(name, bundles, log)| {
                        runtime.block_on(ingest::ingest(&app, &name, bundles, log)).unwrap()
                    },
                    BatchSize::PerIteration,
                );
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = measure
}
criterion_main!(benches);
