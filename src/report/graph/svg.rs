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

use super::{GraphNode, GraphView};
use crate::report::text::{harmless, width};

/// Size of the text in pixels.
const FONT: usize = 14;
/// Width of a column of text in pixels: more than a letter takes on average, so that boxes hold their text in any font.
const COLUMN: f64 = 8.5;
/// Height of a line of text in pixels.
const ROW: f64 = 20.0;
const MARGIN: f64 = 16.0;

/// The graph as SVG 1.1: barriers are dashed, disruptive steps have a thick border. White behind all, so that it can be
/// read on a dark page too.
pub fn svg(graph: &GraphView) -> String {
    let mut canvas = Canvas::default();
    if !graph.nodes.is_empty() {
        place(graph, &mut canvas);
    }
    canvas.finish(&graph.title)
}

fn place(graph: &GraphView, canvas: &mut Canvas) {
    let mut picture = VisualGraph::new(Orientation::TopToBottom);
    let nodes = graph.nodes.iter().map(|n| picture.add_node(element(n)));
    let nodes = nodes.collect::<Vec<_>>();
    for (from, to, barrier) in graph.links() {
        if let (Some(a), Some(b), false) = (nodes.get(from), nodes.get(to), from == to) {
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

fn element(node: &GraphNode) -> Element {
    let lines = [harmless(&node.label), node.detail()];
    let columns = lines.iter().map(|l| width(l)).max().unwrap_or(0);
    let columns = f64::from(u32::try_from(columns).unwrap_or(u32::MAX));
    let size = Point::new(columns * COLUMN + 2.0 * MARGIN, 2.0 * ROW + MARGIN);
    let line = if node.disruptive { 4 } else { 1 };
    let shape = ShapeKind::new_box(&lines.join("\n"));
    Element::create(shape, look(line), Orientation::TopToBottom, size)
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
