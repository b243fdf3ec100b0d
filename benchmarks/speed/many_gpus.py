"""What would bound a step on many GPUs, under assumptions."""
import math


def bound(gpus, batch, messages, operations, args):
    """What a step on many GPUs would wait for, in milliseconds.

    Rings inside each machine, then one of machines over their networks. A
    message however small takes a tree up and down.

    Args:
        gpus (int): How many.
        batch (int): Images a GPU.
        messages (dict): ``gradients`` and ``others``: bytes of each message.
        operations (float): Of an image.
        args (Namespace): What is assumed.

    Returns:
        dict: Milliseconds, which part is the longest, and the share of the
        time that is computation if nothing, or all, of the gradients'
        exchange is hidden behind it.
    """
    inside = min(gpus, args.per_machine)
    machines = math.ceil(gpus / args.per_machine)
    size = sum(messages['gradients'])
    latency = 2 * math.ceil(math.log2(gpus)) * args.hop * 1e-3
    parts = dict(
        computation=batch * operations / args.tflops * 1e-9,
        machine_link=2 * (inside - 1) / inside * size /
        args.machine_link * 1e-6,
        network_link=2 * (machines - 1) / machines * size /
        args.network_link * 1e-6,
        latency=latency * len(messages['gradients']),
        # the loss waits for these
        others=latency * len(messages['others']))
    computation, others = parts['computation'], parts['others']
    links = sum(parts.values()) - computation - others
    return dict(
        gpus=gpus, images_a_gpu=batch,
        milliseconds={name: round(part, 3) for name, part in parts.items()},
        bound_by=max(parts, key=parts.get),
        efficiency=[round(computation / (others + total), 3) for total in
                    (computation + links, max(computation, links))])


def bounds(messages, operations, args):
    """:func:`bound` for each number of GPUs and way of sharing images."""
    return [bound(gpus, batch, messages, operations, args)
            for gpus in args.gpus
            for batch in (args.gpu_batch, max(args.gpu_batch // gpus, 1))]
