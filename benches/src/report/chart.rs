//! A chart of a group: a line for each benchmark, and on it a point for each engine, whose place says how long it took beside
//! the rival, on a logarithmic scale.

use std::fmt::Display;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{Report, Row};
use crate::engine::Role;

const WIDTH: i32 = 1000;
/// Where the scale begins and ends.
const LEFT: i32 = 210;
const RIGHT: i32 = WIDTH - 30;
const LINE: i32 = 20;
/// The least and the greatest ratio that has a place of its own.
const LEAST: f64 = 1.0 / 64.0;
const GREATEST: f64 = 64.0;

const GREY: RGBColor = RGBColor(200, 200, 200);
/// The first is the subject's; colours that those tell apart who see few.
const COLOURS: [RGBColor; 10] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(90, 90, 90),
    RGBColor(150, 90, 40),
    RGBColor(110, 60, 160),
    RGBColor(160, 170, 0),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The chart as SVG.
pub fn chart(report: &Report) -> Result<String> {
    let mut svg = String::new();
    draw(report, &mut svg).map_err(|error| anyhow!("cannot draw a chart: {error}"))?;
    Ok(svg)
}

/// What each engine's time is divided by: the rival's, or else the subject's.
fn base(report: &Report, row: &Row) -> Option<f64> {
    [Role::Rival, Role::Subject].iter().find_map(|role| {
        let mut engines = report.engines.iter().filter(|it| it.role == *role);
        engines.find_map(|it| row.median(&it.name))
    })
}

/// How long an engine took; if it ran the smaller size alone, as much longer than the subject as it took there.
fn time(report: &Report, row: &Row, engine: &str) -> Option<f64> {
    if let Some(median) = row.median(engine) {
        return Some(median);
    }
    let small = report.benchmarks.iter().filter(|it| it.is_small());
    let mut small = small.filter(|it| it.name.strip_suffix(", small") == Some(&row.name));
    let subject = report.engines.iter().find(|it| it.role == Role::Subject)?;
    let ratio = small.find_map(|it| it.ratio(engine, &subject.name));
    Some(row.median(&subject.name)? * ratio?)
}

struct Scale {
    least: f64,
    greatest: f64,
}

impl Scale {
    /// One that has all of the ratios, between powers of two.
    fn new(ratios: impl Iterator<Item = f64>) -> Scale {
        let (mut least, mut greatest) = (-1.0_f64, 1.0_f64);
        for ratio in ratios {
            let place = ratio.clamp(LEAST, GREATEST).log2();
            least = least.min(place.floor());
            greatest = greatest.max(place.ceil());
        }
        Scale { least, greatest }
    }

    fn x(&self, ratio: f64) -> i32 {
        let place = ratio.clamp(LEAST, GREATEST).log2();
        let part = (place - self.least) / (self.greatest - self.least);
        LEFT + (part * f64::from(RIGHT - LEFT)).round() as i32
    }
}

fn draw(report: &Report, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let rows: Vec<(&Row, f64)> = report
        .benchmarks
        .iter()
        .filter(|row| !row.is_small())
        .filter_map(|row| Some((row, base(report, row)?)))
        .collect();
    let ratios = |row: &Row, base: f64| -> Vec<(usize, f64)> {
        let engines = report.engines.iter().enumerate();
        let times = engines.filter_map(|(place, it)| Some((place, time(report, row, &it.name)?)));
        times.map(|(place, time)| (place, time / base)).collect()
    };
    let all = rows.iter().flat_map(|(row, base)| ratios(row, *base));
    let scale = Scale::new(all.map(|(_, ratio)| ratio));

    let legend = 34;
    let legend_lines = report.engines.len().div_ceil(4) as i32;
    let top = legend + legend_lines * LINE + 30;
    let bottom = top + rows.len() as i32 * LINE;
    let area =
        SVGBackend::with_string(svg, (WIDTH as u32, (bottom + 30) as u32)).into_drawing_area();
    area.fill(&WHITE)?;

    let title = format!(
        "{}: time, beside wasmtime's = 1 (left is faster)",
        report.group.name()
    );
    text(&area, title, (12, 16), 16, HPos::Left)?;
    for (place, engine) in report.engines.iter().enumerate() {
        let (column, line) = (place as i32 % 4, place as i32 / 4);
        let at = (20 + column * 240, legend + 12 + line * LINE);
        area.draw(&Circle::new(at, 5, colour(place).filled()))?;
        text(&area, &engine.name, (at.0 + 12, at.1), 13, HPos::Left)?;
    }

    for power in scale.least as i32..=scale.greatest as i32 {
        let ratio = f64::from(power).exp2();
        let x = scale.x(ratio);
        let style = if power == 0 { BLACK } else { GREY };
        area.draw(&PathElement::new([(x, top - 8), (x, bottom)], style))?;
        let label = if power < 0 {
            format!("1/{}", 1.0 / ratio)
        } else {
            ratio.to_string()
        };
        for y in [top - 16, bottom + 12] {
            text(&area, &label, (x, y), 12, HPos::Center)?;
        }
    }
    for (line, (row, base)) in rows.iter().enumerate() {
        let y = top + line as i32 * LINE + LINE / 2;
        area.draw(&PathElement::new(
            [(LEFT, y), (RIGHT, y)],
            RGBColor(235, 235, 235),
        ))?;
        text(&area, &row.name, (LEFT - 10, y), 13, HPos::Right)?;
        // The subject last, so that nothing hides it.
        for (place, ratio) in ratios(row, *base).into_iter().rev() {
            let size = if place == 0 { 6 } else { 4 };
            area.draw(&Circle::new(
                (scale.x(ratio), y),
                size,
                colour(place).filled(),
            ))?;
        }
    }
    area.present()?;
    Ok(())
}

fn colour(place: usize) -> RGBColor {
    COLOURS[place % COLOURS.len()]
}

fn text(
    area: &Area<'_>,
    text: impl Display,
    at: (i32, i32),
    size: i32,
    side: HPos,
) -> Result<(), Box<dyn std::error::Error>> {
    let style = TextStyle::from(("sans-serif", size).into_font()).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(text.to_string(), at, style))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_between_powers_of_two() {
        let scale = Scale::new([0.3, 3.0].into_iter());
        assert_eq!((scale.least, scale.greatest), (-2.0, 2.0));
        assert_eq!(scale.x(0.25), LEFT);
        assert_eq!(scale.x(1.0), (LEFT + RIGHT) / 2);
        assert_eq!(scale.x(4.0), RIGHT);
        assert_eq!(Scale::new([1e9].into_iter()).x(1e9), RIGHT);
    }
}
