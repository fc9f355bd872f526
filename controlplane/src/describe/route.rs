//! How a route is described. A table of these stands beside each router:
//!
//! ```ignore
//! pub const ROUTES: &[Route] = &[
//!     Route::get("/api/v1/things", "listThings", "Things").tagged("things").answers(200, Shape::Schema(r#"{"type": "array"}"#)),
//!     Route::post("/api/v1/things", "makeThing", "Make a thing")
//!         .tagged("things")
//!         .body(Shape::Schema(r#"{"type": "object"}"#), r#"{"name": "a"}"#)
//!         .answers(201, Shape::Empty),
//! ];
//! ```
//!
//! A new area is added to [`super::routes`]. The parameters of the path are taken from the path.

use tenantry_crds::v1alpha1::Action;

/// A route with one method.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// In lower case, as OpenAPI has it. HEAD comes with GET.
    pub method: &'static str,
    /// The path, as the router has it.
    pub path: &'static str,
    /// The operation's id.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// The area.
    pub tag: &'static str,
    /// Who may call it.
    pub access: Access,
    /// It stands once for each document type with which the caller may do this.
    pub expands: Option<Action>,
    /// It takes a filter for each field.
    pub filters: bool,
    /// Parameters in the query and headers.
    pub parameters: &'static [Parameter],
    /// The body, with an example that can be sent as it is.
    pub body: Option<(Shape, &'static str)>,
    /// The answer when all is well. What is not well is a problem document, always.
    pub status: u16,
    /// Its body.
    pub answer: Shape,
}

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody, without a token.
    Public,
    /// Whoever has a token for the tenant; permissions say the rest.
    User,
    /// Administrators of the tenant.
    Admin,
    /// Administrators, and workers of the app.
    Worker,
    /// Whoever may do the same with kubectl: another kind of token, and no tenant.
    Cluster,
}

/// A parameter in the query or a header.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// `query` or `header`.
    pub place: &'static str,
    /// The name.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// The JSON type of its value.
    pub kind: &'static str,
}

/// A body.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    /// None.
    Empty,
    /// A document.
    Document,
    /// A document, or an array of them.
    Documents,
    /// Some fields of a document.
    Fields,
    /// A page of documents.
    Page,
    /// JSON with this schema, written as JSON.
    Schema(&'static str),
    /// Something else than JSON, by its content type.
    Media(&'static str),
}

impl Parameter {
    /// A text in the query.
    pub const fn query(name: &'static str, about: &'static str) -> Self {
        Self { place: "query", name, about, kind: "string" }
    }

    /// A number in the query.
    pub const fn number(name: &'static str, about: &'static str) -> Self {
        Self { kind: "integer", ..Self::query(name, about) }
    }

    /// A header.
    pub const fn header(name: &'static str, about: &'static str) -> Self {
        Self { place: "header", ..Self::query(name, about) }
    }
}

impl Route {
    /// A route with any method.
    pub const fn new(
        method: &'static str,
        path: &'static str,
        name: &'static str,
        summary: &'static str,
    ) -> Self {
        Self {
            method,
            path,
            name,
            summary,
            tag: "other",
            access: Access::User,
            expands: None,
            filters: false,
            parameters: &[],
            body: None,
            status: 200,
            answer: Shape::Schema("{}"),
        }
    }

    /// GET, and HEAD.
    pub const fn get(path: &'static str, name: &'static str, summary: &'static str) -> Self {
        Self::new("get", path, name, summary)
    }

    /// POST.
    pub const fn post(path: &'static str, name: &'static str, summary: &'static str) -> Self {
        Self::new("post", path, name, summary)
    }

    /// PATCH.
    pub const fn patch(path: &'static str, name: &'static str, summary: &'static str) -> Self {
        Self::new("patch", path, name, summary)
    }

    /// PUT.
    pub const fn put(path: &'static str, name: &'static str, summary: &'static str) -> Self {
        Self::new("put", path, name, summary)
    }

    /// DELETE.
    pub const fn delete(path: &'static str, name: &'static str, summary: &'static str) -> Self {
        Self::new("delete", path, name, summary)
    }

    /// The area that it belongs to.
    pub const fn tagged(mut self, tag: &'static str) -> Self {
        self.tag = tag;
        self
    }

    /// Who may call it; whoever has a token unless said.
    pub const fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// Stands once for each document type with which the caller may do `action`.
    pub const fn expands(mut self, action: Action) -> Self {
        self.expands = Some(action);
        self
    }

    /// Takes a filter for each field, too.
    pub const fn filters(mut self) -> Self {
        self.filters = true;
        self
    }

    /// Takes these parameters beside those of the path.
    pub const fn takes(mut self, parameters: &'static [Parameter]) -> Self {
        self.parameters = parameters;
        self
    }

    /// Takes this body; `example` is JSON, or empty.
    pub const fn body(mut self, shape: Shape, example: &'static str) -> Self {
        self.body = Some((shape, example));
        self
    }

    /// Answers so when all is well.
    pub const fn answers(mut self, status: u16, answer: Shape) -> Self {
        (self.status, self.answer) = (status, answer);
        self
    }
}
