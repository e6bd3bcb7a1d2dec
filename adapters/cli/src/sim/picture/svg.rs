//! SVG as text.

use std::fmt::Write;

/// A picture that is being drawn.
#[derive(Debug, Default)]
pub(super) struct Svg {
    body: String,
}

/// Which part of a text stands at its place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

impl Svg {
    /// Writing to a text does not fail.
    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.body, "{element}");
    }

    pub(super) fn text(&mut self, x: f64, y: f64, anchor: Anchor, size: f64, colour: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        self.put(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-size="{size}" fill="{colour}">{text}</text>"#
        ));
    }

    /// `style`: further attributes.
    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, style: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.put(format_args!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{colour}" {style}/>"#
        ));
    }

    pub(super) fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str, style: &str) {
        let (width, height) = (width.max(0.0), height.max(0.0));
        self.put(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{colour}" {style}/>"#
        ));
    }

    pub(super) fn polygon(&mut self, points: &[(f64, f64)], colour: &str, style: &str) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.put(format_args!(r#"<polygon points="{}" fill="{colour}" {style}/>"#, points.join(" ")));
    }

    /// A cross: here something is lost.
    pub(super) fn cross(&mut self, (x, y): (f64, f64), colour: &str) {
        let size = 3.5;
        self.line((x - size, y - size), (x + size, y + size), colour, r#"stroke-width="1.6""#);
        self.line((x - size, y + size), (x + size, y - size), colour, r#"stroke-width="1.6""#);
    }

    /// The head of an arrow that ends here and comes from the left (or the right).
    pub(super) fn head(&mut self, (x, y): (f64, f64), slope: f64, comes_from_left: bool, colour: &str) {
        let back = if comes_from_left { -6.0 } else { 6.0 };
        let up = slope * 6.0;
        self.polygon(&[(x, y), (x + back, y - up - 2.6), (x + back, y - up + 2.6)], colour, "");
    }

    /// What follows is cut off at a box, until [`Svg::end_group`].
    pub(super) fn begin_clipped(&mut self, name: &str, x: f64, y: f64, width: f64, height: f64) {
        self.put(format_args!(
            r#"<clipPath id="{name}"><rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/></clipPath>"#
        ));
        self.put(format_args!(r#"<g clip-path="url(#{name})">"#));
    }

    pub(super) fn end_group(&mut self) {
        self.put(format_args!("</g>"));
    }

    pub(super) fn finish(self, width: f64, height: f64) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"DejaVu Sans, Verdana, sans-serif\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{}</svg>\n",
            self.body
        )
    }
}
