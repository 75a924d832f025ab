//! Who a certificate speaks for: one SPIFFE URI in its subject alternative names.

use std::fmt;
use std::str::FromStr;

use compliance_protocol::name::{Carrier, Operator, Site, Tenant};

/// Who a client is, by its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Identity {
    /// An appliance: `spiffe://<tenant>/site/<site>`.
    Site {
        /// Its tenant.
        tenant: Tenant,
        /// Its site.
        site: Site,
    },
    /// A person or a tool of the tenant's: `spiffe://<tenant>/operator/<name>`.
    Operator {
        /// The tenant.
        tenant: Tenant,
        /// The name.
        name: Operator,
    },
    /// What brings events elsewhere, and may do nothing but that: `spiffe://<tenant>/carrier/<name>`.
    Carrier {
        /// The tenant.
        tenant: Tenant,
        /// The name.
        name: Carrier,
    },
}

impl Identity {
    /// The tenant that it belongs to.
    pub fn tenant(&self) -> &Tenant {
        match self {
            Self::Site { tenant, .. }
            | Self::Operator { tenant, .. }
            | Self::Carrier { tenant, .. } => tenant,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Site { tenant, site } => write!(f, "spiffe://{tenant}/site/{site}"),
            Self::Operator { tenant, name } => write!(f, "spiffe://{tenant}/operator/{name}"),
            Self::Carrier { tenant, name } => write!(f, "spiffe://{tenant}/carrier/{name}"),
        }
    }
}

/// The URI names no site, operator or carrier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a client is named spiffe://<tenant>/, and site/<site>, operator/<name> or carrier/<name>")]
pub struct NotAnIdentity;

impl FromStr for Identity {
    type Err = NotAnIdentity;

    fn from_str(uri: &str) -> Result<Self, NotAnIdentity> {
        let path = uri.strip_prefix("spiffe://").ok_or(NotAnIdentity)?;
        let mut parts = path.splitn(3, '/');
        let (Some(tenant), Some(kind), Some(name)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(NotAnIdentity);
        };
        let tenant = tenant.parse().map_err(|_| NotAnIdentity)?;
        match kind {
            "site" => Ok(Self::Site { tenant, site: name.parse().map_err(|_| NotAnIdentity)? }),
            "operator" => {
                Ok(Self::Operator { tenant, name: name.parse().map_err(|_| NotAnIdentity)? })
            }
            "carrier" => {
                Ok(Self::Carrier { tenant, name: name.parse().map_err(|_| NotAnIdentity)? })
            }
            _ => Err(NotAnIdentity),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_goes_round_through_its_uri() {
        for uri in [
            "spiffe://acme/site/clinic-042",
            "spiffe://acme/operator/admin",
            "spiffe://acme/carrier/nats",
        ] {
            assert_eq!(uri.parse::<Identity>().unwrap().to_string(), uri);
        }
    }

    #[test]
    fn what_is_not_exactly_such_a_uri_names_nobody() {
        for bad in [
            "",
            "spiffe://acme/site/",
            "spiffe://acme/site/a/b",
            "spiffe://acme/site/a?x",
            "spiffe://acme/reseller/a",
            "spiffe:///site/a",
            "SPIFFE://acme/site/a",
            "https://acme/site/a",
            "spiffe://acme/site/clinic-042 ",
        ] {
            assert_eq!(bad.parse::<Identity>(), Err(NotAnIdentity), "{bad}");
        }
    }
}
