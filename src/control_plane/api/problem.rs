//! Errors of the control socket as RFC 9457 problem documents.

use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use serde::{Deserialize, Serialize};

use super::Answer;
use crate::control_plane::apps::Error;

/// One problem; `detail` says what was expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Problem {
    status: u16,
    title: String,
    pub(super) detail: String,
}

impl Problem {
    pub(super) fn not_found(path: &str) -> Self {
        let known = "GET /v1/status, GET /v1/apps/{app}/logs or /v1/logs, and POST /v1/apps/{app}/ or /v1/ with reload, rollback, pause or resume";
        Self::new(
            StatusCode::NOT_FOUND,
            "No such resource",
            format!("there is no {path}; there is {known}"),
        )
    }

    pub(super) fn method_not_allowed(allowed: &str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "Method not allowed",
            format!("use {allowed}"),
        )
    }

    pub(super) fn unknown_app(detail: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Unknown app", detail.to_owned())
    }

    pub(super) fn bad_option(detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Bad option", detail.to_owned())
    }

    pub(super) fn configuration(detail: &str) -> Self {
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "Invalid configuration",
            detail.to_owned(),
        )
    }

    fn new(status: StatusCode, title: &str, detail: String) -> Self {
        Self {
            status: status.as_u16(),
            title: title.to_owned(),
            detail,
        }
    }

    pub(super) fn into_answer(self) -> Answer {
        let body = serde_json::to_vec(&self).expect("every key of a problem is a string");
        let mut answer = Response::builder()
            .status(self.status)
            .header(header::CONTENT_TYPE, "application/problem+json");
        if self.status == StatusCode::METHOD_NOT_ALLOWED.as_u16()
            && let Some(allowed) = self.detail.strip_prefix("use ")
        {
            // RFC 9110 15.5.6: the answer names what is allowed.
            answer = answer.header(header::ALLOW, allowed);
        }
        answer
            .body(Full::from(body).boxed())
            .expect("the parts are valid")
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::UnknownApp { .. } => Self::unknown_app(&detail),
            Error::NoAddresses(_) => Self::bad_option(&detail),
            Error::UnknownGeneration { .. } => {
                Self::new(StatusCode::NOT_FOUND, "Unknown generation", detail)
            }
            Error::Configuration(_) => Self::configuration(&detail),
            Error::Refused(_) => Self::new(StatusCode::CONFLICT, "Not put in force", detail),
            Error::Gone(_) => Self::new(StatusCode::CONFLICT, "Not in the configuration", detail),
            Error::NothingToUndo => Self::new(StatusCode::CONFLICT, "Nothing to undo", detail),
        }
    }
}
