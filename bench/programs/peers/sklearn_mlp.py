"""`python -m bench.programs.peers.sklearn_mlp`: the nearest that scikit-learn comes, exemplar by exemplar.

784-100-10, plain SGD with batches of one, the quadratic part of the elastic net, mpinn's order of exemplars. It differs
in what the class does not offer: ReLU instead of ELU; cross-entropy and its full gradient instead of the quadratic
loss; no layer-size normalisation (so grey levels are divided by 255 and the learning rate is 0.01); no linear part of
the elastic net; initial weights of its own. So its weights cannot be compared, only its accuracy.
"""

from time import perf_counter

import numpy as np

from bench.programs import program
from bench.programs.peers import task as tasks
from bench.programs.peers.task import SETTINGS, Epoch
from bench.programs.program import NotHereError
from mpinn.system.command_line import run_command

LEARNING_RATE = 0.01
ENOUGH = 50.0  # test accuracy, percent: chance is 10


def main() -> int:
    asked = tasks.parser("sklearn_mlp", __doc__).parse_args()
    task = tasks.task_of(asked, workers=1)
    try:
        import sklearn
        from sklearn.neural_network import MLPClassifier
    except ImportError as error:
        raise NotHereError(f"scikit-learn cannot be imported ({error}): pip install 'mpinn-bench[peers]'") from None
    mnist = tasks.digits()
    model = MLPClassifier(
        hidden_layer_sizes=tasks.NETWORK.sizes[1:-1],
        solver="sgd",
        alpha=SETTINGS.l2,
        batch_size=1,
        learning_rate_init=LEARNING_RATE,
        momentum=0,
        nesterovs_momentum=False,
        shuffle=False,
        random_state=task.seed,
    )
    classes = np.arange(mnist.classes)
    epochs = []
    for number in range(1, task.epochs + 1):
        order = task.order(number)
        start = perf_counter()
        model.partial_fit(scaled(mnist.train_images[order]), mnist.train_labels[order], classes=classes)
        seconds = perf_counter() - start
        accuracies = [
            100 * model.score(scaled(images), labels)
            for images, labels in ((mnist.train_images, mnist.train_labels), (mnist.test_images, mnist.test_labels))
        ]
        epochs.append(Epoch(seconds, *accuracies))
    reached = epochs[-1].test_accuracy
    detail = f"test accuracy is {reached:.2f} % (at least {ENOUGH:g}; chance is 10)"
    check = program.check("it learns", reached >= ENOUGH, detail)
    tasks.report(asked.result, task, epochs, check, {"sklearn": sklearn.__version__})
    return 0


def scaled(images: np.ndarray) -> np.ndarray:
    """Return grey levels as float32 from 0 to 1."""
    return images.astype(np.float32) / np.float32(255)


if __name__ == "__main__":
    run_command(main)
