//! The graph as a picture. `layout-rs` places nodes and edges; what is written is written here, because its own writer
//! gives no stable text, sets a serif font and relies on a paint that many viewers do not know.
//!
//! Groups are not drawn (the library knows none): give nodes labels that name them.

use layout::core::base::Orientation;
use layout::core::color::Color;
use layout::core::format::{ClipHandle, RenderBackend};
use layout::core::geometry::Point;
use layout::core::style::{LineStyleKind, StyleAttr};
use layout::std_shapes::shapes::{Arrow, Element, LineEndKind, ShapeKind};
use layout::topo::layout::VisualGraph;

use super::{GraphNode, GraphView, levels};
use crate::report::text::{harmless, width};

/// Size of the text in pixels.
const FONT: usize = 14;
/// Width of a column of text in pixels: more than a letter takes on average, so that boxes hold their text in any font.
const COLUMN: f64 = 8.5;
/// Height of a line of text in pixels.
const ROW: f64 = 20.0;
const MARGIN: f64 = 16.0;

/// The graph as SVG 1.1. Links that a longer way implies are left out; barriers are dashed, disruptive steps have a thick border. White behind all, so that it can be
/// read on a dark page too.
pub fn svg(graph: &GraphView) -> String {
    let mut canvas = Canvas::default();
    if !graph.nodes.is_empty() {
        place(graph, &mut canvas);
    }
    canvas.finish(&graph.title)
}

/// Nodes and bends of edges that the library may be asked to place: its time grows with the square and more.
const PLACEABLE: usize = 300;

fn place(graph: &GraphView, canvas: &mut Canvas) {
    let links = needed(graph.nodes.len(), graph.links());
    let levels = levels(graph.nodes.len(), &links);
    let level = |at: usize| levels.get(at).copied().unwrap_or(0);
    let bends = links
        .iter()
        .map(|(a, b, _)| level(*b).saturating_sub(level(*a) + 1));
    if graph.nodes.len() + bends.sum::<usize>() > PLACEABLE {
        return place_in_rows(graph, &links, &levels, canvas);
    }
    let mut picture = VisualGraph::new(Orientation::TopToBottom);
    // It would check itself after each edge, which takes longer than all the rest.
    picture.dag.set_validate(false);
    let nodes = graph.nodes.iter().map(|n| picture.add_node(element(n)));
    let nodes = nodes.collect::<Vec<_>>();
    for (from, to, barrier) in links {
        if let (Some(a), Some(b)) = (nodes.get(from), nodes.get(to)) {
            let line = if barrier {
                LineStyleKind::Dashed
            } else {
                LineStyleKind::Normal
            };
            let (none, arrow) = (LineEndKind::None, LineEndKind::Arrow);
            let arrow = Arrow::new(none, arrow, line, "", &look(1), &None, &None);
            picture.add_edge(arrow, *a, *b);
        }
    }
    picture.do_it(false, false, false, canvas);
}

/// The links without those from a node to itself and those that a longer way implies; barriers say more than a way of
/// plain links and stay.
fn needed(nodes: usize, links: Vec<(usize, usize, bool)>) -> Vec<(usize, usize, bool)> {
    let mut after = vec![Vec::new(); nodes];
    for (from, to, _) in &links {
        if let (Some(after), false) = (after.get_mut(*from), from == to) {
            after.push(*to);
        }
    }
    let detour = |from: usize, to: usize| {
        let mut seen = vec![false; nodes];
        let mut open = after.get(from).cloned().unwrap_or_default();
        open.retain(|n| *n != to);
        while let Some(node) = open.pop() {
            if node == to {
                return true;
            }
            if let Some(seen) = seen.get_mut(node).filter(|seen| !**seen) {
                *seen = true;
                open.extend(after.get(node).into_iter().flatten());
            }
        }
        false
    };
    let keep = |(from, to, barrier): &(usize, usize, bool)| {
        from != to && (*barrier || !detour(*from, *to))
    };
    links.into_iter().filter(keep).collect()
}

/// What is too large for the library: a row per level, in the order of the plan, and curves between.
fn place_in_rows(
    graph: &GraphView,
    links: &[(usize, usize, bool)],
    levels: &[usize],
    canvas: &mut Canvas,
) {
    let mut row_ends: Vec<f64> = Vec::new();
    let mut boxes = Vec::new();
    for (node, level) in graph.nodes.iter().zip(levels) {
        if row_ends.len() <= *level {
            row_ends.resize(level + 1, 0.0);
        }
        let size = size_of(node);
        let row = f64::from(u32::try_from(*level).unwrap_or(u32::MAX));
        if let Some(end) = row_ends.get_mut(*level) {
            boxes.push((Point::new(*end, row * 3.0 * (2.0 * ROW)), size));
            *end += size.x + 2.0 * MARGIN;
        }
    }
    for (from, to, barrier) in links {
        let (Some((a, a_size)), Some((b, b_size))) = (boxes.get(*from), boxes.get(*to)) else {
            continue;
        };
        let start = Point::new(a.x + a_size.x / 2.0, a.y + a_size.y);
        let end = Point::new(b.x + b_size.x / 2.0, b.y);
        let bend = Point::new(0.0, 1.5 * ROW);
        let path = [(start, start.add(bend)), (end.sub(bend), end)];
        canvas.draw_arrow(&path, *barrier, (false, true), &look(1), None, "");
    }
    for (node, (at, size)) in graph.nodes.iter().zip(boxes) {
        let line = if node.disruptive { 4 } else { 1 };
        canvas.draw_rect(at, size, &look(line), None, None);
        canvas.draw_text(at.add(size.scale(0.5)), &label_of(node), &look(line));
    }
}

fn label_of(node: &GraphNode) -> String {
    format!("{}\n{}", harmless(&node.label), node.detail())
}

fn size_of(node: &GraphNode) -> Point {
    let label = label_of(node);
    let columns = label.lines().map(width).max().unwrap_or(0);
    let columns = f64::from(u32::try_from(columns).unwrap_or(u32::MAX));
    Point::new(columns * COLUMN + 2.0 * MARGIN, 2.0 * ROW + MARGIN)
}

fn element(node: &GraphNode) -> Element {
    let line = if node.disruptive { 4 } else { 1 };
    let shape = ShapeKind::new_box(&label_of(node));
    Element::create(shape, look(line), Orientation::TopToBottom, size_of(node))
}

fn look(line: usize) -> StyleAttr {
    StyleAttr::new(Color::fast("black"), line, None, 6, FONT)
}

/// Takes the drawing calls and keeps what they cover.
#[derive(Default)]
struct Canvas {
    body: String,
    least: Option<(f64, f64)>,
    most: Option<(f64, f64)>,
}

impl Canvas {
    fn cover(&mut self, at: Point) {
        let (x, y) = self.least.unwrap_or((at.x, at.y));
        self.least = Some((x.min(at.x), y.min(at.y)));
        let (x, y) = self.most.unwrap_or((at.x, at.y));
        self.most = Some((x.max(at.x), y.max(at.y)));
    }

    fn finish(self, title: &str) -> String {
        let (left, top) = self.least.unwrap_or((0.0, 0.0));
        let (right, bottom) = self.most.unwrap_or((0.0, 0.0));
        let title = escaped(&harmless(title));
        let head = ROW + MARGIN;
        let columns = f64::from(u32::try_from(width(&title)).unwrap_or(u32::MAX));
        let wide = (right - left).max(columns * COLUMN) + 2.0 * MARGIN;
        let high = bottom - top + head + 2.0 * MARGIN;
        let (x, y) = (left - MARGIN, top - MARGIN - head);
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        out.push_str(&format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide:.0}\" height=\"{high:.0}\" \
             viewBox=\"{x:.1} {y:.1} {wide:.1} {high:.1}\" font-family=\"sans-serif\" font-size=\"{FONT}\">\n\
             <title>{title}</title>\n\
             <defs><marker id=\"arrow\" markerWidth=\"10\" markerHeight=\"8\" refX=\"9\" refY=\"4\" orient=\"auto\">\
             <path d=\"M0 0 L10 4 L0 8 z\" fill=\"#444\"/></marker></defs>\n\
             <rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{wide:.1}\" height=\"{high:.1}\" fill=\"white\"/>\n\
             <text x=\"{left:.1}\" y=\"{:.1}\" font-weight=\"bold\" fill=\"black\">{title}</text>\n",
            top - MARGIN
        ));
        out.push_str(&self.body);
        out.push_str("</svg>\n");
        out
    }
}

impl RenderBackend for Canvas {
    fn draw_rect(
        &mut self,
        xy: Point,
        size: Point,
        look: &StyleAttr,
        _: Option<String>,
        _: Option<ClipHandle>,
    ) {
        self.cover(xy);
        self.cover(xy.add(size));
        self.body.push_str(&format!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"{}\" fill=\"white\" \
             stroke=\"black\" stroke-width=\"{}\"/>\n",
            xy.x, xy.y, size.x, size.y, look.rounded, look.line_width
        ));
    }

    fn draw_text(&mut self, xy: Point, text: &str, _: &StyleAttr) {
        let lines = text.lines().collect::<Vec<_>>();
        let rows = f64::from(u32::try_from(lines.len()).unwrap_or(u32::MAX));
        let mut y = xy.y - (rows - 1.0) * ROW / 2.0 + 5.0;
        for (at, line) in lines.iter().enumerate() {
            // The name stands out, the rest explains it.
            let weight = if at == 0 { " font-weight=\"bold\"" } else { "" };
            self.body.push_str(&format!(
                "<text x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" fill=\"black\"{weight}>{}</text>\n",
                xy.x,
                escaped(line)
            ));
            y += ROW;
        }
    }

    fn draw_arrow(
        &mut self,
        path: &[(Point, Point)],
        dashed: bool,
        (start, end): (bool, bool),
        _: &StyleAttr,
        _: Option<String>,
        _: &str,
    ) {
        let mut d = String::new();
        for (at, (a, b)) in path.iter().enumerate() {
            self.cover(*a);
            // The first pair leaves its point (point, control), the others enter theirs (control, point).
            let sign = match at {
                0 => format!("M {:.1} {:.1} C {:.1} {:.1},", a.x, a.y, b.x, b.y),
                1 => format!(" {:.1} {:.1}, {:.1} {:.1}", a.x, a.y, b.x, b.y),
                _ => format!(" S {:.1} {:.1}, {:.1} {:.1}", a.x, a.y, b.x, b.y),
            };
            d.push_str(&sign);
        }
        let dash = if dashed {
            " stroke-dasharray=\"6,4\""
        } else {
            ""
        };
        let start = if start {
            " marker-start=\"url(#arrow)\""
        } else {
            ""
        };
        let end = if end {
            " marker-end=\"url(#arrow)\""
        } else {
            ""
        };
        self.body.push_str(&format!(
            "<path d=\"{d}\" fill=\"none\" stroke=\"#444\"{dash}{start}{end}/>\n"
        ));
    }

    // The shapes used here call none of these.
    fn draw_line(&mut self, _: Point, _: Point, _: &StyleAttr, _: Option<String>) {}

    fn draw_circle(&mut self, _: Point, _: Point, _: &StyleAttr, _: Option<String>) {}

    fn create_clip(&mut self, _: Point, _: Point, _: usize) -> ClipHandle {
        0
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
