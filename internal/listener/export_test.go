package listener

// UntilFinished is what ends a stream of a live log.
var UntilFinished = untilFinished
