"""What other programs show of a run: TensorBoard, MLflow, W&B and Optuna. Runs on the driver."""
