/// A plot as SVG: what is planned as lines, what is measured as marks, both axes from 0.
///
/// Series differ in colour (Okabe and Ito's, which colour-blind people tell apart), mark and dash.
package struct LinePlot {
  package struct Point: Equatable, Sendable {
    package let x, y: Double

    package init(x: Double, y: Double) {
      (self.x, self.y) = (x, y)
    }
  }

  package struct Series: Sendable {
    package let name: String
    package var planned: [Point]
    package var measured: [Point]

    package init(name: String, planned: [Point], measured: [Point]) {
      (self.name, self.planned, self.measured) = (name, planned, measured)
    }
  }

  private let title, xLabel, yLabel: String
  private let series: [Series]

  package init(title: String, xLabel: String, yLabel: String, series: [Series]) {
    (self.title, self.xLabel, self.yLabel, self.series) = (title, xLabel, yLabel, series)
  }

  // Sizes in user units, about a pixel.
  private static let width = 560.0, height = 360.0
  private static let left = 74.0, right = 16.0, top = 66.0, bottom = 52.0
  private static let colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]
  private static let dashes = ["none", "7 4", "2 3", "9 3 2 3", "4 2", "1 4"]

  package func svg() -> String {
    let points = series.flatMap { $0.planned + $0.measured }
    let xAxis = Axis(largest: points.map(\.x).max() ?? 0, isWhole: true)
    let yAxis = Axis(largest: points.map(\.y).max() ?? 0, isWhole: false)
    var parts = [
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 \(Int(Self.width)) \(Int(Self.height))\" "
        + "font-family=\"system-ui, sans-serif\" font-size=\"12\" role=\"img\">",
      "<title>\(Markup.escaped(title))</title>",
      text(Self.left, 18, title, "font-size=\"13\" font-weight=\"bold\""),
    ]
    parts += axes(xAxis, yAxis) + legend()
    for (index, series) in series.enumerated() {
      let place = { (point: Point) in
        Point(
          x: Self.left + point.x / xAxis.end * (Self.width - Self.left - Self.right),
          y: Self.height - Self.bottom - point.y / yAxis.end * (Self.height - Self.top - Self.bottom))
      }
      parts += [line(through: series.planned.map(place), index)] + series.measured.map { mark(at: place($0), index) }
    }
    return (parts + ["</svg>"]).joined(separator: "\n")
  }

  private func axes(_ xAxis: Axis, _ yAxis: Axis) -> [String] {
    let (right, bottom) = (Self.width - Self.right, Self.height - Self.bottom)
    var parts: [String] = []
    for tick in yAxis.ticks {
      let y = bottom - tick / yAxis.end * (bottom - Self.top)
      parts.append(stroke(from: Point(x: Self.left, y: y), to: Point(x: right, y: y), tick == 0 ? "#333" : "#ddd"))
      parts.append(text(Self.left - 6, y + 4, yAxis.label(tick), "text-anchor=\"end\""))
    }
    for tick in xAxis.ticks {
      let x = Self.left + tick / xAxis.end * (right - Self.left)
      parts.append(stroke(from: Point(x: x, y: bottom), to: Point(x: x, y: bottom + 5), "#333"))
      parts.append(text(x, bottom + 19, xAxis.label(tick), "text-anchor=\"middle\""))
    }
    parts.append(stroke(from: Point(x: Self.left, y: Self.top), to: Point(x: Self.left, y: bottom), "#333"))
    parts.append(text((Self.left + right) / 2, Self.height - 12, xLabel, "text-anchor=\"middle\""))
    let middle = coordinate((Self.top + bottom) / 2)
    parts.append(text(16, (Self.top + bottom) / 2, yLabel, "text-anchor=\"middle\" transform=\"rotate(-90 16 \(middle))\""))
    return parts
  }

  /// A line and a mark before each name, side by side above the plot.
  private func legend() -> [String] {
    let spacing = (Self.width - Self.left - Self.right) / Double(max(3, series.count))
    return series.enumerated().flatMap { index, series in
      let start = Point(x: Self.left + Double(index) * spacing, y: 42)
      let end = Point(x: start.x + 34, y: start.y)
      return [
        line(through: [start, end], index), mark(at: Point(x: start.x + 17, y: start.y), index),
        text(end.x + 7, start.y + 4, series.name, ""),
      ]
    }
  }

  private func line(through points: [Point], _ index: Int) -> String {
    let path = points.map { "\(coordinate($0.x)),\(coordinate($0.y))" }.joined(separator: " ")
    return "<polyline points=\"\(path)\" fill=\"none\" stroke=\"\(Self.colours[index % Self.colours.count])\" stroke-width=\"2\" "
      + "stroke-dasharray=\"\(Self.dashes[index % Self.dashes.count])\"/>"
  }

  /// Circle, square, triangle or diamond, hollow, so that marks at one place are both seen.
  private func mark(at point: Point, _ index: Int) -> String {
    let outlines: [[(Double, Double)]] = [
      [], [(-5, -5), (5, -5), (5, 5), (-5, 5)], [(0, -6.5), (6, 5), (-6, 5)], [(0, -7), (7, 0), (0, 7), (-7, 0)],
    ]
    let outline = outlines[index % outlines.count]
    let style = "fill=\"none\" stroke=\"\(Self.colours[index % Self.colours.count])\" stroke-width=\"2\" class=\"mark\""
    guard !outline.isEmpty else {
      return "<circle cx=\"\(coordinate(point.x))\" cy=\"\(coordinate(point.y))\" r=\"5\" \(style)/>"
    }
    let path = outline.map { "\(coordinate(point.x + $0.0)),\(coordinate(point.y + $0.1))" }.joined(separator: " ")
    return "<polygon points=\"\(path)\" \(style)/>"
  }

  private func stroke(from start: Point, to end: Point, _ colour: String) -> String {
    "<line x1=\"\(coordinate(start.x))\" y1=\"\(coordinate(start.y))\" x2=\"\(coordinate(end.x))\" y2=\"\(coordinate(end.y))\" "
      + "stroke=\"\(colour)\"/>"
  }

  private func text(_ x: Double, _ y: Double, _ text: String, _ attributes: String) -> String {
    "<text x=\"\(coordinate(x))\" y=\"\(coordinate(y))\" \(attributes)>\(Markup.escaped(text))</text>"
  }

  private func coordinate(_ value: Double) -> String { value.formatted(digits: 1) }
}

/// From 0 to a round number at or above the largest value, with ticks at round numbers.
struct Axis {
  let end: Double
  let ticks: [Double]
  private let digits: Int

  /// - Parameter isWhole: ticks at whole numbers alone.
  init(largest: Double, isWhole: Bool) {
    let largest = largest > 0 && largest.isFinite ? largest : 1
    // The least of 1, 2, 5 × 10^n that makes no more than six steps.
    var exponent = isWhole ? 0 : -6
    var step = Self.step(1, exponent)
    search: while true {
      for digit in [1.0, 2, 5] {
        step = Self.step(digit, exponent)
        if largest / step <= 6 { break search }
      }
      exponent += 1
    }
    let count = (largest / step).rounded(.up)
    end = count * step
    ticks = (0...Int(count)).map { Double($0) * step }
    digits = max(0, -exponent)
  }

  private static func step(_ digit: Double, _ exponent: Int) -> Double {
    let power = (0..<abs(exponent)).reduce(1.0) { power, _ in power * 10 }
    return exponent < 0 ? digit / power : digit * power
  }

  func label(_ tick: Double) -> String { tick.formatted(digits: digits) }
}

/// Text within HTML and SVG.
package enum Markup {
  package static func escaped(_ text: String) -> String {
    var result = ""
    for character in text {
      switch character {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "'": result += "&#39;"
      default: result.append(character)
      }
    }
    return result
  }
}
