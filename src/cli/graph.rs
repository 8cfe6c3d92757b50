//! `hmco-boot graph`: the steps of a playbook and what waits for what.

use std::collections::BTreeMap;

use super::Context;
use super::error::CliError;
use super::output::Format;
use super::planner::Values;
use super::run::PlanArgs;
use super::session::Session;
use crate::model::id::StepAddr;
use crate::model::outcome::ExitCode;
use crate::plan::Plan;
use crate::report::graph::{self, GraphEdge, GraphNode, GraphView};

/// Arguments of `graph`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hmco-boot graph hello
  hmco-boot graph hello --format svg > hello.svg
  hmco-boot graph hello --format mermaid        for Markdown")]
pub struct Args {
    /// Which playbook, for whom.
    #[command(flatten)]
    pub plan: PlanArgs,
    /// How to draw it
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub format: GraphFormat,
}

/// How to draw a graph.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum GraphFormat {
    /// Lines for a terminal
    #[default]
    Text,
    /// Graphviz
    Dot,
    /// Mermaid, as Markdown viewers draw it
    Mermaid,
    /// A picture
    Svg,
}

/// Draws the graph.
pub async fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let session = Session::open(&args.plan, Values::Names, context).await?;
    let view = view(&session.plan);
    let text = match args.format {
        GraphFormat::Text if context.output.format() == Format::Json => {
            context.output.json("graph", &view)?;
            return Ok(ExitCode::Done);
        }
        GraphFormat::Text => {
            let lines = graph::text(&view, usize::from(context.output.width()));
            context.output.lines(&lines)?;
            return Ok(ExitCode::Done);
        }
        GraphFormat::Dot => graph::dot(&view),
        GraphFormat::Mermaid => graph::mermaid(&view),
        GraphFormat::Svg => graph::svg(&view),
    };
    context.output.data(&text)?;
    Ok(ExitCode::Done)
}

/// The plan by steps: what people draw. An edge is a barrier where one of its pairs waits for another target.
fn view(plan: &Plan) -> GraphView {
    let mut nodes: Vec<GraphNode> = Vec::new();
    let mut at: BTreeMap<&StepAddr, usize> = BTreeMap::new();
    for pair in &plan.pairs {
        let index = *at.entry(&pair.step).or_insert_with(|| {
            let group = pair.step.parent().map(str::to_owned);
            nodes.push(GraphNode {
                id: pair.step.to_string(),
                label: pair.step.to_string(),
                kind: pair.kind.name.to_owned(),
                group,
                disruptive: pair.is_disruptive(),
                ..GraphNode::default()
            });
            nodes.len() - 1
        });
        if let Some(node) = nodes.get_mut(index) {
            node.targets.push(pair.target.to_string());
        }
    }
    let edge = |((from, to), barrier): ((StepAddr, StepAddr), bool)| GraphEdge {
        from: from.to_string(),
        to: to.to_string(),
        barrier,
    };
    let edges = plan.step_edges();
    GraphView {
        title: plan.title.clone(),
        nodes,
        edges: edges.into_iter().map(edge).collect(),
    }
}
