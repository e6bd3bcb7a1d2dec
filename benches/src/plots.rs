//! Plots as SVG.

use std::error::Error;
use std::ops::Range;
use std::path::Path;

use plotters::prelude::{
    BLACK, ChartBuilder, Circle, IntoDrawingArea, IntoLogRange, LineSeries, PathElement, RGBColor, SVGBackend,
    SeriesLabelPosition, WHITE,
};
use plotters::style::Color;

/// Measured points, joined by lines, both axes logarithmic.
#[derive(Clone, Debug)]
pub struct Plot {
    /// The file's name without its extension.
    pub name: &'static str,
    /// What stands above it.
    pub title: &'static str,
    /// What grows.
    pub x: Axis,
    /// What it costs.
    pub y: Axis,
    /// The lines.
    pub series: Vec<Series>,
}

/// An axis.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    /// What stands beside it.
    pub label: &'static str,
    /// How a value of it is written.
    pub write: fn(f64) -> String,
    /// Its marks are powers of this.
    pub base: f64,
}

impl Axis {
    /// Of bytes.
    pub fn bytes(label: &'static str) -> Axis {
        Axis { label, write: bytes, base: 4.0 }
    }

    /// Of a time in nanoseconds.
    pub fn time(label: &'static str) -> Axis {
        Axis { label, write: nanoseconds, base: 10.0 }
    }

    /// Of percents.
    pub fn percent(label: &'static str) -> Axis {
        Axis { label, write: |value| with_unit(value, &[(1.0, "%")]), base: 10.0 }
    }

    /// Of a number of things.
    pub fn count(label: &'static str) -> Axis {
        Axis { label, write: |value| with_unit(value, &[(1.0, "")]), base: 10.0 }
    }

    /// The marks around all values.
    fn range(&self, values: impl Iterator<Item = f64>) -> Range<f64> {
        let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)));
        self.base.powf(low.log(self.base).floor())..self.base.powf(high.log(self.base).ceil())
    }
}

/// One line of a plot.
#[derive(Clone, Debug)]
pub struct Series {
    /// What the legend says.
    pub label: &'static str,
    /// The points; coordinates above zero.
    pub points: Vec<(f64, f64)>,
}

const COLOURS: [RGBColor; 6] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
    RGBColor(255, 127, 14),
    RGBColor(127, 127, 127),
];
/// In pixels.
const SIZE: (u32, u32) = (760, 400);

impl Plot {
    /// Draws it into `folder`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn draw(&self, folder: &Path) -> Result<(), Box<dyn Error>> {
        let path = folder.join(self.name).with_extension("svg");
        let area = SVGBackend::new(&path, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let points = || self.series.iter().flat_map(|series| &series.points);
        let across = self.x.range(points().map(|point| point.0)).log_scale().base(self.x.base);
        let up = self.y.range(points().map(|point| point.1)).log_scale().base(self.y.base);
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(76)
            .margin_right(36)
            .build_cartesian_2d(across, up)?;
        chart
            .configure_mesh()
            .x_desc(self.x.label)
            .y_desc(self.y.label)
            .x_label_formatter(&|value| (self.x.write)(*value))
            .y_label_formatter(&|value| (self.y.write)(*value))
            .label_style(("sans-serif", 13))
            .light_line_style(RGBColor(240, 240, 240))
            .draw()?;
        for (series, colour) in self.series.iter().zip(COLOURS) {
            let line = LineSeries::new(series.points.iter().copied(), colour.stroke_width(2));
            chart
                .draw_series(line)?
                .label(series.label)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
            chart.draw_series(series.points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .label_font(("sans-serif", 13))
            .draw()?;
        area.present()?;
        Ok(())
    }
}

fn bytes(value: f64) -> String {
    with_unit(value, &[(1_073_741_824.0, "GiB"), (1_048_576.0, "MiB"), (1024.0, "KiB"), (1.0, "B")])
}

fn nanoseconds(value: f64) -> String {
    with_unit(value, &[(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")])
}

/// In the largest unit that it reaches.
fn with_unit(value: f64, units: &[(f64, &str)]) -> String {
    let (unit, name) = units.iter().find(|(unit, _)| value >= *unit).or(units.last()).copied().unwrap_or((1.0, ""));
    let rounded = (value / unit * 10.0).round() / 10.0;
    format!("{rounded} {name}").trim_end().into()
}
