//! The service of users and tools: parses, asks, answers. What takes more than that has a file of its own.

use std::sync::Arc;

use coracle_proto::attr;
use coracle_proto::codec::InField as _;
use coracle_proto::id::{FunctionId, NodeId, VersionNumber};
use coracle_proto::pb::admin_server::Admin;
use coracle_proto::pb::*;
use coracle_proto::record::Weight;
use coracle_proto::status::{Code, Refusal};
use tokio::sync::mpsc;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

use super::ask::ask;
use super::deadline::deadline;
use super::span::{self, joined};
use super::{Answers, STREAM_QUEUE, answers, deploy, groups, logs, overview, remove, rollout, upload};
use crate::context::Context;
use crate::model::Command;
use crate::propose::{barrier, propose};

/// Serves users and tools.
#[derive(Debug)]
pub(crate) struct AdminService {
    pub(crate) context: Arc<Context>,
}

impl AdminService {
    /// A change that has nothing to answer but its revision.
    async fn change(
        &self,
        name: &'static str,
        metadata: &MetadataMap,
        asked: Option<ChangeContext>,
        command: Command,
    ) -> Result<Response<ChangeReply>, Status> {
        let ask = ask(&self.context, asked, command)?;
        let proposing = propose(&self.context, ask, deadline(metadata));
        let decided = joined(span::change(name), metadata, proposing);
        Ok(Response::new(ChangeReply { revision: decided.await?.revision.get() }))
    }

    async fn read(&self, metadata: &MetadataMap, stale: bool) -> Result<(), Refusal> {
        if stale { Ok(()) } else { barrier(&self.context, deadline(metadata)).await }
    }
}

fn function_id(namespace: &str, name: &str) -> Result<FunctionId, Status> {
    Ok(FunctionId::parse(namespace, name).in_field("name")?)
}

#[tonic::async_trait]
impl Admin for AdminService {
    async fn info(&self, _: Request<InfoRequest>) -> Result<Response<InfoReply>, Status> {
        Ok(Response::new(overview::info(&self.context)))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusReply>, Status> {
        Ok(Response::new(overview::status(&self.context, request.into_inner().stale).await))
    }

    type UploadStream = Answers<UploadEvent>;

    async fn upload(
        &self,
        request: Request<Streaming<UploadChunk>>,
    ) -> Result<Response<Self::UploadStream>, Status> {
        let (metadata, _, chunks) = request.into_parts();
        let events = upload::upload(&self.context, metadata, chunks).await?;
        Ok(Response::new(Box::pin(events)))
    }

    async fn deploy(&self, request: Request<DeployRequest>) -> Result<Response<DeployReply>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let span = span::deploy("Deploy");
        if let Some(deploy) = &asked.deploy {
            span.record(attr::FUNCTION, deploy.name.as_str());
        }
        let deploying = deploy::deploy(&self.context, asked, deadline(&metadata));
        Ok(Response::new(joined(span, &metadata, deploying).await?))
    }

    type RolloutStream = Answers<RolloutEvent>;

    async fn rollout(
        &self,
        request: Request<RolloutRequest>,
    ) -> Result<Response<Self::RolloutStream>, Status> {
        self.read(request.metadata(), false).await?;
        let asked = request.into_inner();
        let function = function_id(&asked.namespace, &asked.name)?;
        let version = VersionNumber::new(asked.version);
        let (out, events) = mpsc::channel(STREAM_QUEUE);
        let context = Arc::clone(&self.context);
        let task = async move {
            context.closing.run_until_cancelled(rollout::rollout(&context, function, version, out)).await;
        };
        tokio::spawn(task.in_current_span());
        Ok(answers(events))
    }

    async fn set_traffic(
        &self,
        request: Request<SetTrafficRequest>,
    ) -> Result<Response<ChangeReply>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let traffic = asked.traffic.in_field("traffic")?;
        let function = function_id(&traffic.namespace, &traffic.name)?;
        let traffic = traffic.traffic.iter().map(Weight::from).collect();
        self.change("SetTraffic", &metadata, asked.context, Command::SetTraffic { function, traffic }).await
    }

    async fn rollback(&self, request: Request<RollbackRequest>) -> Result<Response<RollbackReply>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let function = function_id(&asked.namespace, &asked.name)?;
        let version = VersionNumber::new(asked.version);
        let rolling = deploy::rollback(&self.context, function, version, asked.context, deadline(&metadata));
        Ok(Response::new(joined(span::change("Rollback"), &metadata, rolling).await?))
    }

    async fn delete_function(
        &self,
        request: Request<DeleteFunctionRequest>,
    ) -> Result<Response<ChangeReply>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let function = function_id(&asked.namespace, &asked.name)?;
        self.change("DeleteFunction", &metadata, asked.context, Command::DeleteFunction { function }).await
    }

    async fn get_function(
        &self,
        request: Request<GetFunctionRequest>,
    ) -> Result<Response<FunctionDetail>, Status> {
        self.read(request.metadata(), request.get_ref().stale).await?;
        let asked = request.into_inner();
        let function = function_id(&asked.namespace, &asked.name)?;
        Ok(Response::new(overview::function_detail(&self.context, &function)?))
    }

    async fn list_functions(
        &self,
        request: Request<ListFunctionsRequest>,
    ) -> Result<Response<ListFunctionsReply>, Status> {
        self.read(request.metadata(), request.get_ref().stale).await?;
        let state = self.context.hub.state();
        let functions = overview::functions(&state, &self.context.soft.nodes(), &request.get_ref().namespace);
        Ok(Response::new(ListFunctionsReply { functions, revision: state.revision().get() }))
    }

    async fn list_routes(
        &self,
        request: Request<ListRoutesRequest>,
    ) -> Result<Response<ListRoutesReply>, Status> {
        self.read(request.metadata(), request.get_ref().stale).await?;
        let state = self.context.hub.state();
        let routes = state.routes().map(coracle_proto::pb::Route::from).collect();
        Ok(Response::new(ListRoutesReply { routes, revision: state.revision().get() }))
    }

    async fn list_nodes(
        &self,
        request: Request<ListNodesRequest>,
    ) -> Result<Response<ListNodesReply>, Status> {
        self.read(request.metadata(), request.get_ref().stale).await?;
        let state = self.context.hub.state();
        let leader = self.context.leader().map_or(0, NodeId::get);
        let nodes = overview::nodes(&self.context, &state, &self.context.soft.nodes());
        Ok(Response::new(ListNodesReply { nodes, revision: state.revision().get(), leader }))
    }

    async fn remove_node(
        &self,
        request: Request<RemoveNodeRequest>,
    ) -> Result<Response<ChangeReply>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let removing = remove::remove(&self.context, asked, deadline(&metadata));
        Ok(Response::new(joined(span::change("RemoveNode"), &metadata, removing).await?))
    }

    async fn list_groups(&self, _: Request<ListGroupsRequest>) -> Result<Response<ListGroupsReply>, Status> {
        Ok(Response::new(groups::list(&self.context).await))
    }

    type LogsStream = Answers<LogsEvent>;

    async fn logs(&self, request: Request<LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        let asked = request.into_inner();
        let function = function_id(&asked.namespace, &asked.name)?;
        if self.context.hub.state().function(&function).is_none() {
            let sentence = format!("there is no function '{function}'");
            return Err(Refusal::new(Code::FunctionNotFound, sentence).into());
        }
        let (out, events) = mpsc::channel(STREAM_QUEUE);
        let context = Arc::clone(&self.context);
        let task = async move {
            context.closing.run_until_cancelled(logs::logs(&context, asked, out)).await;
        };
        tokio::spawn(task.in_current_span());
        Ok(answers(events))
    }
}
