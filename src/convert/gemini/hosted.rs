//! Tools that run at Google, and how they stand beside the functions of a client.

use std::borrow::Cow;

use super::request::{CallingMode, Empty, FunctionCallingConfig, FunctionDeclaration, Tool, ToolConfig};

/// Which of them are offered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hosted {
    pub search: bool,
    pub url_context: bool,
    pub code_execution: bool,
}

impl Hosted {
    pub fn is_any(self) -> bool {
        self.search || self.url_context || self.code_execution
    }

    /// Those that are offered here and there.
    pub fn only(self, others: Self) -> Self {
        Self {
            search: self.search && others.search,
            url_context: self.url_context && others.url_context,
            code_execution: self.code_execution && others.code_execution,
        }
    }

    /// `tools`: the functions in one entry, each tool of Google's in one of its own.
    pub fn beside<'a>(self, function_declarations: Vec<FunctionDeclaration<'a>>) -> Vec<Tool<'a>> {
        let Self { search, url_context, code_execution } = self;
        let offered = |is_offered: bool| is_offered.then_some(Empty {});
        let functions = Tool { function_declarations, ..Tool::default() };
        [
            (!functions.function_declarations.is_empty(), functions),
            (search, Tool { google_search: offered(search), ..Tool::default() }),
            (url_context, Tool { url_context: offered(url_context), ..Tool::default() }),
            (code_execution, Tool { code_execution: offered(code_execution), ..Tool::default() }),
        ]
        .into_iter()
        .filter_map(|(is_offered, tool)| is_offered.then_some(tool))
        .collect()
    }
}

/// `toolConfig`; names only with `ANY`.
pub fn calling<'a>(
    mode: CallingMode,
    allowed_function_names: impl IntoIterator<Item = Cow<'a, str>>,
) -> ToolConfig<'a> {
    let allowed_function_names = allowed_function_names.into_iter().collect();
    ToolConfig { function_calling_config: FunctionCallingConfig { mode, allowed_function_names } }
}
