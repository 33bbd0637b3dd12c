use super::ToolError;
use crate::args::TopArgs;
pub(super) fn top(_args: &TopArgs) -> Result<(), ToolError> {
    Ok(())
}
