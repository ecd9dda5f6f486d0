//! Follows the cluster's state from any controller that answers.

mod feed;

use std::path::PathBuf;

use coracle_proto::id::{ClusterId, NodeId};
use coracle_proto::pb;
use tokio_util::sync::CancellationToken;

use self::feed::Feed;
use super::keeper::Keeper;
use super::{Content, Held, Routing, View, ViewHandle};

/// What is followed, and from whom.
#[derive(Debug, Clone)]
pub struct Options {
    /// Frames of another cluster are refused.
    pub cluster: ClusterId,
    /// Whose assignments are followed.
    pub node: NodeId,
    /// Where the view is kept; it must exist.
    pub folder: PathBuf,
    /// Controllers, each `HOST:PORT`, in the order in which they are tried: this node's own first. After them
    /// come those that the view names.
    pub controllers: Vec<String>,
}

/// The task that keeps the view up to date.
#[derive(Debug)]
pub struct Follower {
    view: ViewHandle,
    routing: (Feed<Routing>, Keeper<Routing>),
    held: (Feed<Held>, Keeper<Held>),
}

impl Follower {
    /// Loads the view that is on disk. Nothing is followed before [`Self::run`].
    #[must_use]
    pub fn open(options: &Options) -> Self {
        let view = ViewHandle::new(options.cluster);
        let gateway = pb::scope::Kind::Gateway(pb::GatewayScope {});
        let node = pb::scope::Kind::Node(options.node.get());
        let follower = Self {
            routing: scope(options, &view, gateway, "gateway.view".to_owned(), |view| &mut view.routing),
            held: scope(options, &view, node, format!("node-{}.view", options.node), |view| &mut view.held),
            view,
        };
        follower.routing.1.load();
        follower.held.1.load();
        follower
    }

    /// The view: loaded, and kept up to date while [`Self::run`] runs.
    #[must_use]
    pub fn view(&self) -> ViewHandle {
        self.view.clone()
    }

    /// Follows until it is stopped. It never fails: a node without controllers keeps the view that it has.
    pub async fn run(self, stop: CancellationToken) {
        let following = async {
            tokio::join!(self.routing.0.run(), self.held.0.run());
        };
        tokio::join!(
            stop.run_until_cancelled(following),
            self.routing.1.run(stop.clone()),
            self.held.1.run(stop.clone()),
        );
    }
}

fn scope<T: Content>(
    options: &Options,
    view: &ViewHandle,
    scope: pb::scope::Kind,
    file: String,
    select: fn(&mut View) -> &mut super::Scoped<T>,
) -> (Feed<T>, Keeper<T>) {
    let view = view.clone();
    let controllers = options.controllers.clone();
    (
        Feed { controllers, scope, view: view.clone(), select },
        Keeper { path: options.folder.join(file), view, select, failing: false },
    )
}
