//! Tables as CSV, in which no text of a stranger's becomes a formula.
//!
//! Source: RFC 4180 for the form; <https://owasp.org/www-community/attacks/CSV_Injection> for what spreadsheets execute.

/// Appends a row and its line end. Cells that a spreadsheet would take for a formula get an apostrophe in front.
pub fn push_row<'a>(text: &mut String, cells: impl IntoIterator<Item = std::borrow::Cow<'a, str>>) {
    for (index, cell) in cells.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        push_cell(text, &cell);
    }
    text.push_str("\r\n");
}

fn push_cell(text: &mut String, cell: &str) {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let is_number = cell.parse::<f64>().is_ok_and(f64::is_finite);
    let prefix = if is_formula && !is_number { "'" } else { "" };
    if prefix.is_empty() && !cell.contains([',', '"', '\r', '\n']) {
        text.push_str(cell);
        return;
    }
    text.push('"');
    text.push_str(prefix);
    text.push_str(&cell.replace('"', "\"\""));
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> String {
        let mut text = String::new();
        push_row(&mut text, cells.iter().map(|cell| (*cell).into()));
        text
    }

    #[test]
    fn plain_cells_stay_as_they_are_and_others_are_quoted() {
        assert_eq!(row(&["a", "", "1.5", "-3"]), "a,,1.5,-3\r\n");
        assert_eq!(
            row(&["a,b", "say \"so\"", "two\nlines"]),
            "\"a,b\",\"say \"\"so\"\"\",\"two\nlines\"\r\n"
        );
    }

    #[test]
    fn no_cell_is_a_formula() {
        for formula in ["=HYPERLINK(\"http://x\")", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "＝1+1"] {
            let told = row(&[formula]);
            assert!(told.starts_with("\"'"), "{told}");
        }
    }
}
