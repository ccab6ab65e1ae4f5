//! How a trace is told by headers, in the forms that Kong knows.

mod forms;

use http::{HeaderMap, HeaderName};

use crate::plugin::BuildError;

/// A place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
    /// Whether the trace is sampled, if that is decided.
    pub(super) sampled: Option<bool>,
}

/// How headers tell of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Form {
    W3c,
    B3,
    B3Single,
    Jaeger,
    Ot,
    Aws,
    Gcp,
    Datadog,
}

/// The `propagation` block.
#[derive(Clone, Debug, serde::Deserialize)]
pub(crate) struct PropagationSettings {
    extract: Option<Vec<Form>>,
    clear: Option<Vec<Box<str>>>,
    inject: Option<Vec<Inject>>,
    default_format: Form,
}

/// In which form a trace is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Inject {
    /// As it came.
    Preserve,
    W3c,
    B3,
    B3Single,
    Jaeger,
    Ot,
    Aws,
    Gcp,
    Datadog,
}

/// What is read and what is written.
#[derive(Debug)]
pub(super) struct Propagation {
    extract: Vec<Form>,
    clear: Vec<HeaderName>,
    inject: Vec<Inject>,
    usual: Form,
}

/// The order in which Kong tries them.
const ALL: [Form; 8] = [
    Form::B3,
    Form::B3Single,
    Form::W3c,
    Form::Jaeger,
    Form::Ot,
    Form::Datadog,
    Form::Aws,
    Form::Gcp,
];

impl Propagation {
    /// As the block says, and where it does not, as the older `header_type` does.
    pub(super) fn new(settings: &PropagationSettings, header_type: Option<&str>) -> Result<Self, BuildError> {
        let is_old = settings.extract.is_none() && settings.inject.is_none() && settings.clear.is_none();
        let form = header_type.filter(|_| is_old).unwrap_or("preserve");
        let read = |name: &str| serde_json::from_value(name.into()).ok();
        let old = match form {
            "preserve" | "ignore" => vec![Inject::Preserve],
            name => [Some(Inject::Preserve), read(name)]
                .into_iter()
                .flatten()
                .collect(),
        };
        let clear = settings
            .clear
            .iter()
            .flatten()
            .enumerate()
            .map(|(position, name)| {
                HeaderName::from_bytes(name.as_bytes()).map_err(|_| BuildError::Setting {
                    pointer: format!("/propagation/clear/{position}").into(),
                    message: format!("'{name}' cannot name a header").into(),
                })
            });
        Ok(Self {
            extract: match (&settings.extract, form) {
                // Both forms of B3 go by one name there.
                (Some(forms), _) => forms.iter().flat_map(|form| with_single(*form)).collect(),
                (None, "ignore") => Vec::new(),
                (None, _) => ALL.to_vec(),
            },
            clear: clear.collect::<Result<_, _>>()?,
            inject: settings.inject.clone().unwrap_or(old),
            usual: settings.default_format,
        })
    }

    /// The trace that the headers tell of, in the first form that does.
    pub(super) fn extract(&self, headers: &HeaderMap) -> Option<(Form, Context)> {
        self.extract
            .iter()
            .find_map(|form| Some((*form, form.read(headers)?)))
    }

    /// Tells of the trace: in the form in which it `came`, or the usual one, and in others that are asked for.
    pub(super) fn inject(
        &self,
        headers: &mut HeaderMap,
        context: &Context,
        parent: Option<[u8; 8]>,
        came: Option<Form>,
    ) {
        for name in &self.clear {
            headers.remove(name);
        }
        for inject in &self.inject {
            inject
                .form()
                .or(came)
                .unwrap_or(self.usual)
                .write(headers, context, parent);
        }
    }
}

fn with_single(form: Form) -> impl Iterator<Item = Form> {
    [Some(form), (form == Form::B3).then_some(Form::B3Single)]
        .into_iter()
        .flatten()
}

impl Inject {
    fn form(self) -> Option<Form> {
        Some(match self {
            Self::Preserve => return None,
            Self::W3c => Form::W3c,
            Self::B3 => Form::B3,
            Self::B3Single => Form::B3Single,
            Self::Jaeger => Form::Jaeger,
            Self::Ot => Form::Ot,
            Self::Aws => Form::Aws,
            Self::Gcp => Form::Gcp,
            Self::Datadog => Form::Datadog,
        })
    }
}
