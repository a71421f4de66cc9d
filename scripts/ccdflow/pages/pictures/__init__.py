"""Pictures as the bytes of PNG files, drawn from values alone.

There are three ways to draw a picture. `style` has the colours and lengths of the first two.

- Most pictures are drawn into a `raster.Raster`, a picture of at most 256 colours. A run draws many
  of them: each takes 0.02 to 0.03 s, with Matplotlib it takes 0.14 s and its import 0.3 s.
  `image_panel` draws an image with axes and a colour scale, `plot_panel` curves, marks and bars.
  `scales` has the numbers of axes and the scales of images. `frame_content` takes the small images
  and profiles of a frame from its pixels. Pictures: `before_after`, `bias_picture`,
  `combined_picture`, `coverage_picture`, `image_rows`.
- Pictures over many nights are drawn by Matplotlib: `matplotlib_figure` makes the figure and its
  PNG, `night_axis` the axis of nights. Pictures: `trend_picture`, `step_picture`, `ageing_picture`.
  `camera_proposal`, the picture of `scripts/new_camera.py`, uses Matplotlib with its own layout.
- `small_picture` makes the small grey picture of each frame, whose scale a page can change.
"""
