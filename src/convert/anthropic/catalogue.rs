//! Anthropic's own tools, which requests name by type instead of by schema.
//!
//! Some run at Google as well; some run at the client, which then gets ordinary calls with the inputs that it knows. Sources:
//! types of anthropic 2.12.0, Anthropic's pages of each tool.

use serde_json::{Value, json};

/// Where a tool of that type runs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    Search,
    UrlContext,
    CodeExecution,
    /// At the client: what it does, and the JSON Schema of its input.
    Client(&'static str, Value),
}

/// By the beginning of the type's name, which ends in a date; `None` for tools that nobody here has.
pub(super) fn find(kind: &str) -> Option<Place> {
    type Make = fn() -> Place;
    const TYPES: [(&str, Make); 7] = [
        ("web_search_", || Place::Search),
        ("web_fetch_", || Place::UrlContext),
        ("code_execution_", || Place::CodeExecution),
        ("bash_", bash),
        ("text_editor_", text_editor),
        ("memory_", memory),
        ("computer_2", computer),
    ];
    TYPES.iter().find(|(beginning, _)| kind.starts_with(beginning)).map(|(_, tool)| tool())
}

fn bash() -> Place {
    let input = json!({"type": "object", "properties": {
        "command": {"type": "string", "description": "The command to run. Required unless the tool is restarted."},
        "restart": {"type": "boolean", "description": "Restarts the shell."},
    }});
    Place::Client("Runs a command in a shell that keeps its state between calls.", input)
}

fn text_editor() -> Place {
    let commands = ["view", "create", "str_replace", "insert"];
    let mut input = file_commands(&commands);
    input["properties"]["view_range"] = json!({
        "type": "array", "items": {"type": "integer"},
        "description": "For `view`: first and last line, counted from 1; -1 is the end.",
    });
    Place::Client("Views, creates and edits text files.", input)
}

fn memory() -> Place {
    let commands = ["view", "create", "str_replace", "insert", "delete", "rename"];
    let mut input = file_commands(&commands);
    input["properties"]["old_path"] = json!({"type": "string", "description": "For `rename`."});
    input["properties"]["new_path"] = json!({"type": "string", "description": "For `rename`."});
    input["required"] = json!(["command"]);
    Place::Client("Keeps notes between conversations, as files below /memories.", input)
}

fn file_commands(commands: &[&str]) -> Value {
    json!({"type": "object", "properties": {
        "command": {"type": "string", "enum": commands},
        "path": {"type": "string", "description": "Absolute path of a file or folder."},
        "file_text": {"type": "string", "description": "For `create`: the whole text of the file."},
        "old_str": {"type": "string", "description": "For `str_replace`: the text to replace; it must occur once."},
        "new_str": {"type": "string", "description": "For `str_replace`: what takes its place."},
        "insert_line": {"type": "integer", "description": "For `insert`: the line to insert after; 0 is the start."},
        "insert_text": {"type": "string", "description": "For `insert`: the text."},
    }, "required": ["command", "path"]})
}

fn computer() -> Place {
    let actions = [
        "screenshot",
        "left_click",
        "right_click",
        "middle_click",
        "double_click",
        "triple_click",
        "left_click_drag",
        "left_mouse_down",
        "left_mouse_up",
        "mouse_move",
        "cursor_position",
        "type",
        "key",
        "hold_key",
        "scroll",
        "wait",
        "zoom",
    ];
    let point = json!({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2});
    let input = json!({"type": "object", "properties": {
        "action": {"type": "string", "enum": actions},
        "coordinate": point,
        "start_coordinate": point,
        "text": {"type": "string", "description": "What to type, or the keys to press."},
        "duration": {"type": "number", "description": "Seconds, for `wait` and `hold_key`."},
        "scroll_direction": {"type": "string", "enum": ["up", "down", "left", "right"]},
        "scroll_amount": {"type": "integer"},
        "region": {"type": "array", "items": {"type": "integer"}, "minItems": 4, "maxItems": 4},
    }, "required": ["action"]});
    Place::Client(
        "Uses the screen, mouse and keyboard of a computer. Coordinates are pixels as [x, y].",
        input,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_of_a_tool_is_known_by_its_beginning() {
        for kind in ["web_search_20250305", "web_search_20260318"] {
            assert_eq!(find(kind), Some(Place::Search));
        }
        for kind in ["bash_20250124", "text_editor_20250728", "memory_20250818", "computer_20251124"] {
            assert!(matches!(find(kind), Some(Place::Client(..))), "{kind}");
        }
        for kind in ["tool_search_tool_regex_20251119", "computer_toolset_20260801", "mcp_toolset", ""] {
            assert_eq!(find(kind), None, "{kind}");
        }
    }
}
