//! A model as [ONNX](https://onnx.ai), which ONNX Runtime and many others compute.
//!
//! The graph reads `input`, `f32` (batch, C, H, W), normalised as [`crate::data::Normalisation`]
//! does, and gives `logits`, `f32` (batch, …): what `torch.onnx.export` makes of the same network.
//! Initialisers have the parameters' names, nodes those of PyTorch's modules. Dropout does nothing
//! where nothing is trained, so it is left out.
//!
//! Source: [`onnx.proto`](https://github.com/onnx/onnx/blob/main/onnx/onnx.proto), of which
//! the messages below are the part that is needed, and the operators' page, opset 17.

use prost::Message;
use thiserror::Error;

use crate::layers::{Shape, Window};
use crate::model::Model;
use crate::network::{Layer, Network, Operation};

/// The format's version: of 2021, which every runtime of today reads.
const IR_VERSION: i64 = 8;

/// The operators' version that came with it.
const OPSET: i64 = 17;

/// The most bytes of a protobuf message.
const MAX_BYTES: usize = (1 << 31) - 1;

/// The tensors that go in and come out.
const INPUT: &str = "input";
const LOGITS: &str = "logits";

/// `TensorProto.DataType.FLOAT`
const FLOAT: i32 = 1;

/// A model that ONNX has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("it would have {0} bytes as ONNX, which allows {MAX_BYTES}")]
pub struct TooLarge(pub usize);

/// The bytes of an ONNX file that holds `model`.
///
/// # Errors
/// If they would be more than protobuf allows.
///
/// # Panics
/// If there are not as many parameters as the network has.
pub fn encode(model: &Model) -> Result<Vec<u8>, TooLarge> {
    let network = &model.network;
    assert_eq!(model.parameters.len(), network.parameter_count());
    let normalisation = &model.normalisation;
    let entries = [
        ("network", network.to_string()),
        ("mean", format!("{:?}", normalisation.mean())),
        ("deviation", format!("{:?}", normalisation.deviation())),
        ("classes", serde_json::json!(model.class_names).to_string()),
        ("trained_on", model.trained_on.clone()),
    ];
    let message = ModelProto {
        ir_version: IR_VERSION,
        producer_name: "longhand".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph(model)),
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: OPSET,
        }],
        metadata_props: (entries.into_iter())
            .map(|(key, value)| StringStringEntryProto {
                key: key.to_owned(),
                value,
            })
            .collect(),
    };
    match message.encoded_len() {
        length if length > MAX_BYTES => Err(TooLarge(length)),
        _ => Ok(message.encode_to_vec()),
    }
}

fn graph(model: &Model) -> GraphProto {
    let network = &model.network;
    let parameters = network.parameters().iter().map(|parameter| TensorProto {
        dims: parameter.shape.iter().map(|&size| size as i64).collect(),
        data_type: FLOAT,
        name: parameter.name.clone(),
        raw_data: model.parameters[parameter.range.clone()]
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect(),
    });
    let how = format!(
        "bytes of each channel divided by 255, less the mean {:?}, divided by the deviation {:?}",
        model.normalisation.mean(),
        model.normalisation.deviation()
    );
    GraphProto {
        node: nodes(network),
        name: "longhand".to_owned(),
        initializer: parameters.collect(),
        input: vec![value(INPUT, Shape::Image(network.input()), how)],
        output: vec![value(LOGITS, network.output(), String::new())],
    }
}

/// The layers in their order, each reading what the one before it gave.
fn nodes(network: &Network) -> Vec<NodeProto> {
    let layers = network.layers().iter().enumerate();
    let mut nodes: Vec<NodeProto> = Vec::new();
    for (index, layer) in layers {
        let name = network.module_name(index);
        let Some((op_type, attribute)) = operator(layer) else {
            continue;
        };
        let before = match nodes.last() {
            Some(node) => node.output[0].clone(),
            None => INPUT.to_owned(),
        };
        let mut input = vec![before];
        let parameters = network.parameters().iter();
        input.extend(
            parameters
                .filter(|p| p.layer == index)
                .map(|p| p.name.clone()),
        );
        nodes.push(NodeProto {
            input,
            output: vec![format!("{name}.output")],
            name,
            op_type: op_type.to_owned(),
            attribute,
        });
    }
    // A network of dropout alone still has a graph.
    if nodes.is_empty() {
        nodes.push(NodeProto {
            input: vec![INPUT.to_owned()],
            name: "identity".to_owned(),
            op_type: "Identity".to_owned(),
            ..NodeProto::default()
        });
    }
    if let Some(last) = nodes.last_mut() {
        last.output = vec![LOGITS.to_owned()];
    }
    nodes
}

/// The operator that is a layer, with its attributes; none for dropout.
fn operator(layer: &Layer) -> Option<(&'static str, Vec<AttributeProto>)> {
    match &layer.operation {
        Operation::Conv2d(conv) => Some(("Conv", window(&conv.window))),
        Operation::Relu => Some(("Relu", Vec::new())),
        // The padding is no pixel of any window's maximum, as in PyTorch.
        Operation::MaxPool2d(pool) => Some(("MaxPool", window(&pool.window))),
        Operation::Flatten => Some(("Flatten", vec![number("axis", 1)])),
        // x (N, I) times the weight (O, I) transposed, and the bias (O).
        Operation::Linear(_) => Some(("Gemm", vec![number("transB", 1)])),
        Operation::Dropout(_) => None,
    }
}

fn window(window: &Window) -> Vec<AttributeProto> {
    let [top, left] = window.padding;
    vec![
        numbers("kernel_shape", &window.kernel),
        numbers("strides", &window.stride),
        // The beginnings of all axes, then their ends.
        numbers("pads", &[top, left, top, left]),
    ]
}

fn number(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        i: Some(i),
        ints: Vec::new(),
        // AttributeProto.AttributeType.INT
        r#type: 2,
    }
}

fn numbers(name: &str, ints: &[usize]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        i: None,
        ints: ints.iter().map(|&int| int as i64).collect(),
        // AttributeProto.AttributeType.INTS
        r#type: 7,
    }
}

/// A tensor of any number of examples of `shape`.
fn value(name: &str, shape: Shape, doc_string: String) -> ValueInfoProto {
    let batch = Dimension {
        dim_value: None,
        dim_param: Some("batch".to_owned()),
    };
    let sizes = shape.sizes().iter().map(|&size| Dimension {
        dim_value: Some(size as i64),
        dim_param: None,
    });
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: FLOAT,
                shape: Some(TensorShapeProto {
                    dim: std::iter::once(batch).chain(sizes).collect(),
                }),
            }),
        }),
        doc_string,
    }
}

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer_name: String,
    #[prost(string, tag = "3")]
    producer_version: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSetIdProto>,
    #[prost(message, repeated, tag = "14")]
    metadata_props: Vec<StringStringEntryProto>,
}

#[derive(Clone, PartialEq, Message)]
struct OperatorSetIdProto {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct StringStringEntryProto {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfoProto>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, optional, tag = "3")]
    i: Option<i64>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    ints: Vec<i64>,
    #[prost(int32, tag = "20")]
    r#type: i32,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    /// Little-endian.
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfoProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    r#type: Option<TypeProto>,
    #[prost(string, tag = "3")]
    doc_string: String,
}

#[derive(Clone, PartialEq, Message)]
struct TypeProto {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TensorTypeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorTypeProto {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<TensorShapeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorShapeProto {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, optional, tag = "1")]
    dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    dim_param: Option<String>,
}
