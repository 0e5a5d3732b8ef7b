//! The one error type of the CRI. Its cases are the gRPC codes that Kubernetes' kubelet tells apart.

use tonic::{Code, Status};

/// What a runtime answers.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a runtime refused or failed. Each text says what was attempted on which object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No such sandbox, container or image.
    #[error("{0}")]
    NotFound(String),
    /// The name is taken.
    #[error("{0}")]
    AlreadyExists(String),
    /// The request can never work as it is.
    #[error("{0}")]
    InvalidArgument(String),
    /// The object is in the wrong state for this.
    #[error("{0}")]
    FailedPrecondition(String),
    /// Not finished within the request's own time limit.
    #[error("{0}")]
    DeadlineExceeded(String),
    /// The runtime does not have this.
    #[error("{0}")]
    Unimplemented(String),
    /// The runtime, or something that it needs, cannot be reached; trying again may help.
    #[error("{0}")]
    Unavailable(String),
    /// A named bound was reached.
    #[error("{0}")]
    ResourceExhausted(String),
    /// Wrong or missing credentials.
    #[error("{0}")]
    PermissionDenied(String),
    /// Anything else.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// The gRPC code of this error.
    pub fn code(&self) -> Code {
        match self {
            Self::NotFound(_) => Code::NotFound,
            Self::AlreadyExists(_) => Code::AlreadyExists,
            Self::InvalidArgument(_) => Code::InvalidArgument,
            Self::FailedPrecondition(_) => Code::FailedPrecondition,
            Self::DeadlineExceeded(_) => Code::DeadlineExceeded,
            Self::Unimplemented(_) => Code::Unimplemented,
            Self::Unavailable(_) => Code::Unavailable,
            Self::ResourceExhausted(_) => Code::ResourceExhausted,
            Self::PermissionDenied(_) => Code::PermissionDenied,
            Self::Internal(_) => Code::Internal,
        }
    }

    /// Whether the object simply is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound(_))
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let text = status.message().to_owned();
        match status.code() {
            Code::NotFound => Self::NotFound(text),
            Code::AlreadyExists => Self::AlreadyExists(text),
            Code::InvalidArgument | Code::OutOfRange => Self::InvalidArgument(text),
            Code::FailedPrecondition => Self::FailedPrecondition(text),
            Code::DeadlineExceeded => Self::DeadlineExceeded(text),
            Code::Unimplemented => Self::Unimplemented(text),
            Code::Unavailable => Self::Unavailable(text),
            Code::ResourceExhausted => Self::ResourceExhausted(text),
            Code::PermissionDenied | Code::Unauthenticated => Self::PermissionDenied(text),
            _ => Self::Internal(text),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_survives_the_way_over_grpc() {
        for code in
            [Code::NotFound, Code::AlreadyExists, Code::InvalidArgument, Code::DeadlineExceeded, Code::Unimplemented, Code::Internal]
        {
            let error = Error::from(Status::new(code, "no container abc"));
            assert_eq!(error.code(), code);
            assert_eq!(Status::from(error).message(), "no container abc");
        }
    }
}
