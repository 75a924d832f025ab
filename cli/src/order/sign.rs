//! `compliancectl order sign`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use compliance_protocol::digest::Digest;
use compliance_protocol::envelope::{Envelope, Payload as _};
use compliance_protocol::key::KeySet;
use compliance_protocol::name::{Id, Site};
use compliance_protocol::order::{Action, Order, Refusal, When};
use compliance_protocol::time::{Span, Timestamp};
use compliance_protocol::trust::Trust;
use compliance_signing::PrivateKey;
use serde::Serialize;
use serde_json::Value;

use super::action::ActionArgs;
use crate::api::NextOrder;
use crate::{Context, Error, Verdict, duration, entropy, files};

/// Options of `order sign`.
#[derive(Debug, Args)]
pub struct SignArgs {
    /// An orders private key; once for each signer.
    #[arg(long = "key", value_name = "FILE", required = true)]
    pub keys: Vec<PathBuf>,
    /// The site that the order is for.
    #[arg(long)]
    pub site: Site,
    /// The site's trust file [default: asks the control plane]
    #[arg(long, value_name = "FILE")]
    pub trust: Option<PathBuf>,
    /// The order's place [default: asks the control plane]
    #[arg(long, value_name = "N")]
    pub sequence: Option<u64>,
    /// Payload digest of the order before it; needed with --sequence unless that is 1.
    #[arg(long, value_name = "SHA256", requires = "sequence")]
    pub previous: Option<Digest>,
    /// How long it can be accepted.
    #[arg(long, default_value = "15m", value_parser = duration::parse, value_name = "SPAN")]
    pub ttl: Span,
    /// How long an accepted order may wait for the window [default: the same as --ttl]
    #[arg(long, value_parser = duration::parse, value_name = "SPAN")]
    pub start_before: Option<Span>,
    /// Whether a disruptive action waits for the maintenance window.
    #[arg(long, default_value = "window")]
    pub when: WhenArg,
    /// How long the action may take: 6 h for a system that is activated, 5 min for anything else, unless given.
    #[arg(long, value_parser = duration::parse, value_name = "SPAN")]
    pub max_runtime: Option<Span>,
    /// Why, for people; part of the signed order.
    #[arg(long, default_value = "")]
    pub reason: String,
    /// A ticket in your system; part of the signed order.
    #[arg(long)]
    pub ticket: Option<String>,
    /// Where the envelope goes [default: stdout]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// What to order.
    #[command(subcommand)]
    pub action: ActionArgs,
}

/// When an order may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WhenArg {
    /// A disruptive action waits for the maintenance window.
    Window,
    /// At once; needs the trust file's `threshold_now` of signers.
    Now,
}

/// A signed order.
#[derive(Debug, Serialize)]
pub struct Signed {
    /// The order.
    pub order: Order,
    /// The digest of its payload: the next order's --previous.
    pub payload_sha256: Digest,
    /// The envelope.
    pub envelope: Value,
    /// Where it was written.
    pub file: Option<PathBuf>,
}

/// Carries out `order sign`.
pub async fn run(context: &Context, args: &SignArgs) -> Result<Verdict, Error> {
    let keys =
        args.keys.iter().map(|path| files::private_key(path)).collect::<Result<Vec<_>, _>>()?;
    let trust = match &args.trust {
        Some(path) => files::trust(path)?.into_value(),
        None => context.control_plane()?.trust(&args.site).await?.into_value(),
    };
    let next = next(context, args, &trust).await?;
    let order = draft(args, &trust, &next, context.now, entropy::random()?)?;
    let bytes = seal(&order, &keys.iter().collect::<Vec<_>>(), &trust)?;
    let Some(path) = &args.out else {
        // The envelope itself is the document, ready for a pipe.
        let envelope: Value = parse(&bytes)?;
        context.output.show(&envelope, |envelope, _| envelope.to_string())?;
        return Ok(Verdict::Holds);
    };
    files::create(path, &bytes, files::PUBLIC)?;
    let payload = compliance_protocol::json::to_canonical(&order)?;
    let signed = Signed {
        payload_sha256: Digest::of(&payload),
        envelope: parse(&bytes)?,
        file: Some(path.clone()),
        order,
    };
    context.output.show(&signed, |signed, _| {
        let order = &signed.order;
        format!(
            "order {} for {}: {}\n  file      {file}\n  expires   {}\nHand it over: compliancectl order push {file}",
            order.sequence,
            order.site,
            order.action.name(),
            order.expires_at,
            file = path.display(),
        )
    })?;
    Ok(Verdict::Holds)
}

/// Fetching may take hours, and a trial boot, its soak and the way back take more than one.
fn usual_runtime(action: &Action) -> Span {
    match action {
        Action::ActivateSystem { .. } | Action::RollbackSystem { .. } => Span::from_hours(6),
        _ => Span::from_secs(300),
    }
}

/// The order that the options describe, issued at `now`.
pub fn draft(
    args: &SignArgs,
    trust: &Trust,
    next: &NextOrder,
    now: Timestamp,
    random: [u8; 10],
) -> Result<Order, Error> {
    if trust.site != args.site {
        let named = &trust.site;
        return Err(Error::Usage(format!("the trust file is of {named}, not of {}", args.site)));
    }
    let action = args.action.action(now)?;
    let seconds = args.max_runtime.unwrap_or_else(|| usual_runtime(&action)).as_millis() / 1000;
    Ok(Order {
        id: Id::new(now, random),
        tenant: trust.tenant.clone(),
        site: trust.site.clone(),
        epoch: next.epoch,
        sequence: next.sequence,
        previous_sha256: next.previous_sha256,
        issued_at: now,
        not_before: None,
        expires_at: now.plus(args.ttl),
        start_before: args.start_before.map(|span| now.plus(span)),
        action,
        when: match args.when {
            WhenArg::Window => When::Window,
            WhenArg::Now => When::Now,
        },
        max_runtime_s: u32::try_from(seconds).unwrap_or(u32::MAX),
        reason: args.reason.clone(),
        ticket: args.ticket.clone(),
        approvals: Vec::new(),
    })
}

/// Signs the order, and refuses what the appliance would refuse.
pub fn seal(order: &Order, keys: &[&PrivateKey], trust: &Trust) -> Result<Vec<u8>, Error> {
    let bytes = compliance_signing::sign(order, keys)?;
    let needed = match order.when {
        When::Window => trust.roles.orders.any.threshold(),
        When::Now => trust.roles.orders.threshold_now,
    };
    let trusted =
        KeySet::new(trust.roles.orders.any.keys().to_vec(), needed).map_err(Error::KeySet)?;
    let refused = |why: &str| Error::Usage(format!("the appliance would refuse this order: {why}"));
    let envelope = Envelope::parse(&bytes).map_err(|error| refused(&error.to_string()))?;
    let verified =
        envelope.verify(Order::TYPE, &trusted).map_err(|error| refused(&error.to_string()))?;
    match verified.order() {
        Ok(_) => Ok(bytes),
        Err(Refusal::BadParameter) => Err(refused(
            "a span or a text is out of its bounds (at most 14 days; --start-before not before --ttl and only with --when window; 24 h of runtime; 1,000 characters of reason)",
        )),
        Err(refusal) => Err(refused(refusal.code())),
    }
}

async fn next(context: &Context, args: &SignArgs, trust: &Trust) -> Result<NextOrder, Error> {
    match (args.sequence, args.previous) {
        (None, _) => {
            let path = format!("/api/v1/sites/{}/next-order", args.site);
            context.control_plane()?.get(&path).await
        }
        (Some(sequence), previous_sha256) if sequence == 1 || previous_sha256.is_some() => {
            Ok(NextOrder { epoch: trust.epoch, sequence, previous_sha256 })
        }
        (Some(sequence), _) => Err(Error::Usage(format!(
            "order {sequence} follows another one: give that one's payload digest with --previous"
        ))),
    }
}

fn parse(bytes: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(bytes)
        .map_err(|source| Error::Sign(compliance_protocol::json::JsonError::Shape(source)))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use compliance_protocol::tlog::VerifierKey;
    use compliance_protocol::trust::{OrderKeys, Roles};

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::order::OrderCommand;

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from_seed(&[seed; 32]).unwrap()
    }

    /// Two orders keys: one signs, both must for `now`.
    fn trust() -> Trust {
        let set = |seed| KeySet::new(vec![key(seed).public()], 1).unwrap();
        let orders = KeySet::new(vec![key(1).public(), key(2).public()], 1).unwrap();
        Trust {
            version: 1,
            tenant: "acme".parse().unwrap(),
            site: "clinic-042".parse().unwrap(),
            epoch: 2,
            roles: Roles {
                root: set(3),
                orders: OrderKeys { any: orders, threshold_now: 2 },
                baseline: set(4),
                feed: set(5),
                checkpoint: key(6).public(),
                evidence: key(7).public(),
            },
            log: VerifierKey::new("log", key(6).public()).unwrap(),
        }
    }

    fn args(options: &str) -> SignArgs {
        let line = format!("compliancectl order sign --key k --site clinic-042 {options}");
        match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
            Command::Order(OrderCommand::Sign(args)) => *args,
            _ => panic!("not `order sign`"),
        }
    }

    fn order(options: &str) -> Order {
        let next = NextOrder { epoch: 2, sequence: 17, previous_sha256: Some(Digest::of(b"16")) };
        let now = "2026-11-20T09:41:11.000Z".parse().unwrap();
        draft(&args(options), &trust(), &next, now, [7; 10]).unwrap()
    }

    #[test]
    fn the_options_become_the_order() {
        let order = order("--ttl 10m --start-before 14d --reason x restart-service nginx.service");
        assert_eq!(order.expires_at.since(order.issued_at), Span::from_secs(600));
        assert_eq!(order.start_by().since(order.issued_at), Span::from_hours(14 * 24));
        assert_eq!(order.action, Action::RestartService { unit: "nginx.service".parse().unwrap() });
        assert_eq!((order.epoch, order.sequence, order.max_runtime_s), (2, 17, 300));
        let bytes = seal(&order, &[&key(1)], &trust()).unwrap();
        let verified =
            Envelope::parse(&bytes).unwrap().verify(Order::TYPE, &trust().roles.orders.any);
        assert_eq!(verified.unwrap().order().unwrap().into_value(), order);
    }

    #[test]
    fn a_system_is_given_hours_unless_the_order_says_otherwise() {
        let system = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system-clinic-042-26.05";
        let back = format!("rollback-system {system}");
        assert_eq!(order(&back).max_runtime_s, 6 * 3600);
        assert_eq!(order(&format!("--max-runtime 2h {back}")).max_runtime_s, 2 * 3600);
    }

    #[test]
    fn what_the_appliance_would_refuse_is_not_signed() {
        for options in [
            "--ttl 15d run-checks",
            "--start-before 15d run-checks",
            "--ttl 2h --start-before 1h run-checks",
            "--max-runtime 2d run-checks",
        ] {
            assert!(seal(&order(options), &[&key(1)], &trust()).is_err(), "{options}");
        }
        assert!(seal(&order("run-checks"), &[&key(9)], &trust()).is_err(), "an unknown key");
    }

    #[test]
    fn an_order_for_now_needs_the_signers_that_the_trust_file_asks_for() {
        let now = order("--when now reboot");
        assert!(seal(&now, &[&key(1)], &trust()).is_err());
        assert!(seal(&now, &[&key(1), &key(1)], &trust()).is_err());
        assert!(seal(&now, &[&key(1), &key(2)], &trust()).is_ok());
    }

    #[test]
    fn an_order_is_never_drafted_for_another_site_than_the_trust_files() {
        let mut args = args("run-checks");
        args.site = "clinic-007".parse().unwrap();
        let next = NextOrder { epoch: 2, sequence: 1, previous_sha256: None };
        let now = "2026-11-20T09:41:11.000Z".parse().unwrap();
        assert!(draft(&args, &trust(), &next, now, [7; 10]).is_err());
    }
}
