"""Layers."""
from .input_spec import InputSpec
from .activation import ELU, Activation, LeakyReLU, PReLU, ReLU, Softmax
from .input_layer import Input, InputLayer
from .layer import Layer
from .dense import Dense
from .conv import (
    Conv1D, Conv1DTranspose, Conv2D, Conv2DTranspose, Conv3D, Conv3DTranspose, Convolution1D, Convolution1DTranspose,
    Convolution2D, Convolution2DTranspose, Convolution3D, Convolution3DTranspose,
)
from .depthwise_conv import (
    DepthwiseConv1D, DepthwiseConv2D, SeparableConv1D, SeparableConv2D, SeparableConvolution1D, SeparableConvolution2D,
)
from .einsum_dense import EinsumDense
from .attention import AdditiveAttention, Attention
from .multi_head_attention import GroupedQueryAttention, GroupQueryAttention, MultiHeadAttention
from .group_normalization import GroupNormalization, SpectralNormalization, UnitNormalization
from .normalization import BatchNormalization, LayerNormalization, RMSNormalization
from .padding import (
    Cropping1D, Cropping2D, Cropping3D, UpSampling1D, UpSampling2D, UpSampling3D, ZeroPadding1D, ZeroPadding2D,
    ZeroPadding3D,
)
from .pooling import (
    AdaptiveAveragePooling1D, AdaptiveAveragePooling2D, AdaptiveAveragePooling3D, AdaptiveMaxPooling1D,
    AdaptiveMaxPooling2D, AdaptiveMaxPooling3D,
    AveragePooling1D, AveragePooling2D, AveragePooling3D, AvgPool1D, AvgPool2D, AvgPool3D, GlobalAveragePooling1D,
    GlobalAveragePooling2D, GlobalAveragePooling3D, GlobalAvgPool1D, GlobalAvgPool2D, GlobalAvgPool3D, GlobalMaxPool1D,
    GlobalMaxPool2D, GlobalMaxPool3D, GlobalMaxPooling1D, GlobalMaxPooling2D, GlobalMaxPooling3D, MaxPool1D, MaxPool2D,
    MaxPool3D, MaxPooling1D, MaxPooling2D, MaxPooling3D,
)
from .dropout import (
    AlphaDropout, Dropout, GaussianDropout, GaussianNoise, SpatialDropout1D, SpatialDropout2D, SpatialDropout3D,
)
from .embedding import Embedding
from .lambda_layer import Lambda
from .reversible_embedding import ReversibleEmbedding
from .merging import (
    Add, Average, Concatenate, Dot, Maximum, Minimum, Multiply, Subtract, add, average, concatenate, dot, maximum, minimum,
    multiply, subtract,
)
from .categories import CategoryEncoding, Discretization
from .hashing import HashedCrossing, Hashing
from .lookup import IndexLookup, IntegerLookup, StringLookup
from .text_vectorization import TextVectorization
from .small import ActivityRegularization, Identity, Normalization, Rescaling
from .drop_connect import DropConnectDense
from .image_color import (
    AutoContrast, ContrastLimitedAdaptiveHistogramEqualization, Equalization, RandomBrightness, RandomColorDegeneration,
    RandomColorJitter, RandomContrast, RandomGaussianBlur, RandomGrayscale, RandomHue, RandomInvert,
    RandomPosterization, RandomSaturation, RandomSharpness, Solarization,
)
from .image_geometry import (
    CenterCrop, RandomCrop, RandomElasticTransform, RandomFlip, RandomPerspective, RandomRotation, RandomShear,
    MaxNumBoundingBoxes, RandomTranslation, RandomZoom, Resizing,
)
from .image_mixing import AugMix, CutMix, MixUp, Pipeline, RandAugment, RandomErasing
from .reshaping import Flatten, Permute, RepeatVector, Reshape
from .bidirectional import Bidirectional
from .conv_lstm import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D
from .gru import GRU, GRUCell
from .lstm import LSTM, LSTMCell
from .masking import Masking
from .rnn import RNN, StackedRNNCells
from .simple_rnn import SimpleRNN, SimpleRNNCell
from .time_distributed import TimeDistributed
from .spectrogram import MelSpectrogram, STFTSpectrogram
from .wrapper import Wrapper


def serialize(layer):
    """The config of a layer, as a dict.

    Args:
        layer: layer.
    """
    from ..saving.serialization import serialize_keras_object

    return serialize_keras_object(layer)


def deserialize(config, custom_objects=None):
    """A layer from its config.

    Args:
        config: dict, as `serialize` gives it.
        custom_objects: dict from names to classes or functions of one's own, or None.
    """
    from ..saving.serialization import deserialize_keras_object

    layer = deserialize_keras_object(config, custom_objects=custom_objects)
    if not isinstance(layer, Layer):
        raise ValueError(f"[layers.deserialize] the config must be that of a layer. Received: {config}")
    return layer
