//! Gateways, for what goes by HTTP.

use super::Session;
use super::events::Events;
use crate::address::Address;
use crate::exit::{Exit, Failure};

/// There is nobody to call.
pub(super) fn none() -> Failure {
    Failure::new(Exit::Connect, "no node of the cluster has the role gateway")
}

/// Which of them.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Flag {
    /// A gateway (port 8080) to call, in place of those that a controller names; repeated, the next one is tried
    /// [env: CORACLE_GATEWAY].
    #[arg(long = "gateway", value_name = "HOST:PORT", value_delimiter = ',')]
    gateways: Vec<Address>,
}

impl Flag {
    /// By the flag, or by the environment.
    fn named(&self, session: &Session<'_>) -> Result<Vec<Address>, Failure> {
        if !self.gateways.is_empty() {
            return Ok(self.gateways.clone());
        }
        let named = session.environment.gateways.iter().map(|text| text.parse());
        named.collect::<Result<_, _>>().map_err(|error| Failure::usage(format!("CORACLE_GATEWAY: {error}")))
    }

    /// Beside stores, which a controller names anyway: who was named, else whom the controller names.
    pub(super) fn beside(&self, events: &Events, session: &Session<'_>) -> Result<Vec<Address>, Failure> {
        let named = self.named(session)?;
        if named.is_empty() { Ok(events.gateways()?.to_vec()) } else { Ok(named) }
    }

    /// Whom to call: who was named, else whom a controller names, else whom the context knows. Calls need no controller.
    pub(super) async fn find(&self, session: &Session<'_>) -> Result<Vec<Address>, Failure> {
        let named = self.named(session)?;
        if !named.is_empty() {
            return Ok(named);
        }
        let known = session.targets()?.gateways;
        match session.connect().await {
            Ok(client) if client.info()?.gateways.is_empty() => Err(none()),
            Ok(client) => Ok(client.info()?.gateways.clone()),
            Err(failure) if failure.exit == Exit::Connect && !known.is_empty() => {
                session.talk.warn(&format!("{failure}; the gateways of the context are called all the same"));
                Ok(known)
            }
            Err(failure) if failure.exit == Exit::Connect => Err(Failure::new(
                Exit::Connect,
                format!("{failure}; a call needs no controller: name a gateway with --gateway HOST:PORT"),
            )),
            Err(failure) => Err(failure),
        }
    }
}
